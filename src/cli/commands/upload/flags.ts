/** What a command line asks of an upload. */
import { DocprocError } from "../../../core/errors.ts";
import { documentPath } from "../../../document/path.ts";
import { contentType, documentMetadata, documentTags, type TextMap } from "../../../document/record.ts";
import { parseExpiry } from "../../../document/time.ts";

/** As typed. */
interface UploadFlags {
  readonly name?: string;
  readonly into?: string;
  readonly relative?: true;
  readonly restore?: string;
  readonly contentType?: string;
  readonly tag?: string[];
  readonly meta?: string[];
  readonly expires?: string;
  readonly recursive?: true;
  readonly exclude?: string[];
  readonly filesFrom?: string;
  readonly null?: true;
  readonly within?: string;
  readonly refuseEmpty?: true;
  readonly dryRun?: true;
  readonly failFast?: true;
}

export interface UploadInput {
  readonly paths: readonly string[];
  readonly filesFrom: string | undefined;
  readonly within: string | undefined;
  readonly nul: boolean;
  readonly name: string | undefined;
  readonly into: string | undefined;
  readonly relative: boolean;
  /** The document whose bytes are to be restored. */
  readonly restore: string | undefined;
  readonly contentType: string | undefined;
  readonly tags: TextMap;
  readonly metadata: TextMap | undefined;
  /** RFC 3339. */
  readonly expiresAt: string | undefined;
  readonly recursive: boolean;
  readonly exclude: readonly string[];
  readonly refuseEmpty: boolean;
  readonly dryRun: boolean;
  readonly failFast: boolean;
}

/** @throws USAGE */
export function parseUpload(paths: readonly string[], flags: UploadFlags, now: number): UploadInput {
  const usage = (message: string, hint: string) => new DocprocError("USAGE", message, { hint });
  if (paths.length === 0 && flags.filesFrom === undefined) {
    throw usage("No files to upload were named.", "Name files: docproc upload ./file.pdf");
  }
  const stdins = [...paths, flags.filesFrom].filter((path) => path === "-").length;
  if (stdins > 1) throw usage("Standard input can be read only once.", "Use - only once.");
  if (paths.includes("-") && flags.name === undefined && flags.restore === undefined) {
    throw usage("A document from standard input needs a path.", "Add --name PATH, such as --name dump.sql.");
  }
  if (flags.restore !== undefined) assertOnlyRestores(paths, flags);
  if (flags.name !== undefined && (paths.length !== 1 || flags.filesFrom !== undefined || flags.recursive)) {
    throw usage("--name applies to one document only.", "Upload the other files with a separate command.");
  }
  return {
    paths,
    filesFrom: flags.filesFrom,
    within: flags.within,
    nul: flags.null ?? false,
    name: flags.name === undefined ? undefined : documentPath(flags.name),
    into: flags.into === undefined ? undefined : documentPath(flags.into.replace(/\/+$/, ""), "--into"),
    relative: flags.relative ?? false,
    restore: flags.restore,
    contentType: flags.contentType === undefined ? undefined : contentType(flags.contentType),
    tags: documentTags(flags.tag ?? []),
    metadata: flags.meta === undefined ? undefined : documentMetadata(flags.meta),
    expiresAt: flags.expires === undefined ? undefined : parseExpiry("--expires", flags.expires, now),
    recursive: flags.recursive ?? false,
    exclude: flags.exclude ?? [],
    refuseEmpty: flags.refuseEmpty ?? false,
    dryRun: flags.dryRun ?? false,
    failFast: flags.failFast ?? false,
  };
}

/** @throws USAGE for flags that describe a new document, or several files */
function assertOnlyRestores(paths: readonly string[], flags: object): void {
  const other = ["filesFrom", "recursive", "relative", "into", "name", "tag", "meta", "contentType", "expires"].find(
    (flag) => flag in flags,
  );
  if (paths.length === 1 && other === undefined) return;
  throw new DocprocError("USAGE", "--restore takes one file and nothing else that describes a document.", {
    hint: "docproc upload FILE --restore REF",
  });
}
