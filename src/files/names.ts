/** Which document names are valid file names. A catalog is not trusted to say where files are written. */
import { DocprocError } from "../core/errors.ts";

/** Bytes of a name on every common file system. */
const maxBytes = 255;

/**
 * A document's name as a path segment.
 * @param windows whether the rules of Windows apply
 * @param hidden whether hidden files are allowed: see {@link isHidden}
 * @throws USAGE for a name that means another place, a device or a stream, or that the system cannot store
 */
export function fileNameOf(name: string, windows: boolean, hidden: boolean): string {
  const objection = objectionOnPosix(name) ?? (windows ? objectionOnWindows(name) : undefined);
  if (objection !== undefined) {
    throw new DocprocError("USAGE", `The name ${JSON.stringify(name)} ${objection}.`, {
      hint: "Name a file with -o FILE.",
    });
  }
  if (hidden || !isHidden(name)) return name;
  throw new DocprocError(
    "USAGE",
    `${JSON.stringify(name)} would be a hidden file, which can change how programs behave.`,
    {
      hint: "To write it, name the document by its path, or add --hidden or -o FILE.",
    },
  );
}

/**
 * Whether a file of this name is hidden. Shells, git and docproc itself read such files unasked, so a download must not
 * place them: https://www.rfc-editor.org/rfc/rfc2183#section-5
 * Characters that HFS+ ignores may precede the dot.
 */
export function isHidden(name: string): boolean {
  return /^\p{Default_Ignorable_Code_Point}*\./u.test(name);
}

function objectionOnPosix(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return "is not a file name";
  if (/[/\0]/.test(name)) return "contains a slash or NUL";
  return Buffer.byteLength(name) > maxBytes ? `is longer than ${maxBytes} bytes` : undefined;
}

/** https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file */
function objectionOnWindows(name: string): string | undefined {
  // A backslash is a separator, a colon begins a drive or a stream.
  if (/[<>:"\\|?*\p{Cc}]/u.test(name)) return "has characters that Windows does not allow";
  if (/[. ]$/.test(name)) return "would be cut short on Windows";
  // CONIN$ and superscript digits count as well, with any extension.
  if (/^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\.|$)/i.test(name)) {
    return "is a device on Windows";
  }
  return undefined;
}
