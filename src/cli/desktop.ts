/** Opens a file in the user's desktop application for its type. */
import { access, constants } from "node:fs/promises";
import { delimiter, dirname } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { findProgram, type ProgramPlace, runProgram, startProgram, trustedFolders } from "../files/programs.ts";
import { readCi } from "../provenance/ci.ts";

/** Milliseconds for the desktop to report that it cannot open a file. A viewer may run as long as it likes. */
const patience = 2_000;

/** Milliseconds for PowerShell to start: it ends with docproc, perhaps before it has shown the file. */
const windowsPatience = 30_000;

export interface Desktop extends ProgramPlace {
  /** Node's name for it. */
  readonly platform: string;
  readonly signal: AbortSignal;
}

interface Opener {
  /** Absolute. */
  readonly program: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Milliseconds to wait for its end. */
  readonly patience: number;
}

/** @throws USAGE without a desktop: in a CI job, and on Linux without a display */
export function assertDesktop({ env, platform }: Pick<Desktop, "env" | "platform">): void {
  const hint = "Write it to a file with docproc download REF.";
  // Not all are known by name, but most set CI.
  const inCi = readCi(env) !== null || (env["CI"] && env["CI"] !== "false");
  if (inCi) throw new DocprocError("USAGE", "Documents cannot be opened in a CI job: it has no desktop.", { hint });
  const isOwnDesktop = platform === "darwin" || platform === "win32" || env["WSL_DISTRO_NAME"];
  if (isOwnDesktop || env["DISPLAY"] || env["WAYLAND_DISPLAY"]) return;
  throw new DocprocError("USAGE", "There is no desktop: neither DISPLAY nor WAYLAND_DISPLAY is set.", { hint });
}

/** Extensions that a double click runs: on Windows by PATHEXT and the shell, elsewhere by desktop launchers. */
const programs =
  /\.(exe|com|bat|cmd|pif|scr|cpl|msi|msp|msc|hta|jar|js|jse|vbs|vbe|wsf|wsh|ps1|psm1|lnk|url|inf|reg|scf|appx|msix|application|gadget|command|terminal|workflow|app|pkg|dmg|desktop|appimage|sh|run)$/i;

/** @throws USAGE for a name that a desktop would run instead of show */
export function assertNoProgram(name: string): void {
  // Windows drops trailing dots and spaces.
  if (!programs.test(name.replace(/[. ]+$/, ""))) return;
  throw new DocprocError("USAGE", `A desktop would run ${JSON.stringify(name)} instead of showing it.`, {
    hint: "If you trust its uploader, write it to a file with docproc download REF and open that.",
  });
}

/**
 * Opens a file like a double click, without waiting until it is closed.
 * @param path absolute, in a directory of this user alone
 * @throws NOT_FOUND when the desktop cannot open it
 */
export async function showOnDesktop(path: string, desktop: Desktop): Promise<void> {
  const failure = (cause?: unknown) =>
    new DocprocError("NOT_FOUND", `This desktop has no application for ${path}.`, {
      hint: "Open that file with a program of your choice.",
      cause,
    });
  const start = async () => {
    const { program, argv, cwd, patience } = await openerOf(path, desktop);
    // xdg-open is a script that searches PATH for other programs.
    const folders = await trustedFolders(desktop);
    const env = { ...desktop.env, PATH: folders.join(delimiter) };
    return { opener: await startProgram(program, argv, { cwd, env }), patience };
  };
  const { opener, patience } = await start().catch((error: unknown) => {
    throw failure(error);
  });
  // The opener ends at once after handing the file over, or stays as the viewer's parent.
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, opener.exitCode === null ? patience : 0);
    opener.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  if ((opener.exitCode ?? 0) !== 0) throw failure();
}

/** The package `open` supports more systems, but searches all of PATH. */
async function openerOf(path: string, desktop: Desktop): Promise<Opener> {
  const { platform, env } = desktop;
  const cwd = dirname(path);
  if (platform === "darwin") return { program: "/usr/bin/open", argv: [path], cwd, patience };
  if (platform === "win32") {
    const windows = env["SYSTEMROOT"] || env["windir"] || "C:\\Windows";
    return { program: `${windows}${powerShell}`, argv: startInPowerShell(path), cwd, patience: windowsPatience };
  }
  const inWindows = env["WSL_DISTRO_NAME"] ? await windowsOpenerOf(path, desktop) : undefined;
  if (inWindows !== undefined) return inWindows;
  const program = await findProgram("xdg-open", desktop);
  if (program === undefined) throw new Error("There is no xdg-open in a trusted directory of PATH.");
  return { program, argv: [path], cwd, patience };
}

/** For Linux inside Windows, where `wslpath` translates file names. */
async function windowsOpenerOf(path: string, desktop: Desktop): Promise<Opener | undefined> {
  const wslpath = await findProgram("wslpath", desktop);
  if (wslpath === undefined) return undefined;
  const translated = async (...argv: string[]) => {
    const signal = AbortSignal.any([desktop.signal, AbortSignal.timeout(patience)]);
    const { stdout } = await runProgram(wslpath, argv, { cwd: "/", env: desktop.env, signal });
    return stdout.toString().trimEnd();
  };
  const program = await translated("-u", `C:\\Windows${powerShell}`);
  const isThere = await access(program, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!isThere) return undefined;
  // Windows may have no access to this user's working directory.
  const argv = startInPowerShell(await translated("-aw", path));
  return { program, argv, cwd: dirname(program), patience: windowsPatience };
}

const powerShell = "\\System32\\WindowsPowerShell\\v1.0\\powershell.exe";

/** Encoded, the only form that PowerShell does not parse twice. */
function startInPowerShell(path: string): string[] {
  // Each of these characters ends a quoted text in PowerShell, whichever began it.
  const quoted = `'${path.replace(/['\u2018-\u201b]/g, "$&$&")}'`;
  const command = `$ProgressPreference = 'SilentlyContinue'; Start-Process -FilePath ${quoted}`;
  const encoded = Buffer.from(command, "utf16le").toString("base64");
  return ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand", encoded];
}
