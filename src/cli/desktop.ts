/** Opens a file in the user's desktop application for its type. */
import { access, constants } from "node:fs/promises";
import { delimiter, dirname } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { findProgram, type ProgramPlace, runProgram, startProgram, trustedFolders } from "../files/programs.ts";
import { readCi } from "../provenance/ci.ts";

/** Milliseconds for a desktop to say that it has nothing for a file. One that shows it may take as long as it likes. */
const patience = 2_000;

/** Milliseconds that PowerShell may take to start: it ends with docproc, and with it what it has not shown yet. */
const windowsPatience = 30_000;

export interface Desktop extends ProgramPlace {
  /** As Node names it. */
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

/** @throws USAGE where there is no desktop: in a CI job, and on Linux without a display */
export function assertDesktop({ env, platform }: Pick<Desktop, "env" | "platform">): void {
  const hint = "docproc download REF writes it to a file.";
  // Not every system has a name, but most set CI.
  const inCi = readCi(env) !== null || (env["CI"] && env["CI"] !== "false");
  if (inCi) throw new DocprocError("USAGE", "In a CI job there is no desktop to open it on.", { hint });
  const isOwnDesktop = platform === "darwin" || platform === "win32" || env["WSL_DISTRO_NAME"];
  if (isOwnDesktop || env["DISPLAY"] || env["WAYLAND_DISPLAY"]) return;
  throw new DocprocError("USAGE", "There is no desktop: neither DISPLAY nor WAYLAND_DISPLAY is set.", { hint });
}

/** Endings of files that a double click runs: on Windows by PATHEXT and the shell, on other desktops by their launchers. */
const programs =
  /\.(exe|com|bat|cmd|pif|scr|cpl|msi|msp|msc|hta|jar|js|jse|vbs|vbe|wsf|wsh|ps1|psm1|lnk|url|inf|reg|scf|appx|msix|application|gadget|command|terminal|workflow|app|pkg|dmg|desktop|appimage|sh|run)$/i;

/** @throws USAGE for a name that a desktop would run and not show */
export function assertNoProgram(name: string): void {
  // Windows leaves off dots and spaces at the end.
  if (!programs.test(name.replace(/[. ]+$/, ""))) return;
  throw new DocprocError("USAGE", `A desktop would run ${JSON.stringify(name)}, and not show it.`, {
    hint: "docproc download REF writes it to a file. Open that yourself, if you trust who uploaded it.",
  });
}

/**
 * Opens a file as a double click would, and does not wait until it is closed.
 * @param path absolute; in a directory of this user alone
 * @throws NOT_FOUND when the desktop has nothing that opens it
 */
export async function showOnDesktop(path: string, desktop: Desktop): Promise<void> {
  const failure = (cause?: unknown) =>
    new DocprocError("NOT_FOUND", `This desktop has nothing to open ${path} with.`, {
      hint: "The file is there: open it with a program of your choice.",
      cause,
    });
  const start = async () => {
    const { program, argv, cwd, patience } = await openerOf(path, desktop);
    // xdg-open is a script that looks for others.
    const folders = await trustedFolders(desktop);
    const env = { ...desktop.env, PATH: folders.join(delimiter) };
    return { opener: await startProgram(program, argv, { cwd, env }), patience };
  };
  const { opener, patience } = await start().catch((error: unknown) => {
    throw failure(error);
  });
  // It ends at once where it hands the file over, and stays where it is the viewer's parent.
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, opener.exitCode === null ? patience : 0);
    opener.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  if ((opener.exitCode ?? 0) !== 0) throw failure();
}

/** The package `open` knows more systems, and looks through all of PATH. */
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
  if (program === undefined) throw new Error("There is no xdg-open in a place of PATH that is trusted.");
  return { program, argv: [path], cwd, patience };
}

/** In Linux on Windows, where `wslpath` tells what files are called on the other side. */
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
  // Windows may not be let into the directory that this user works in.
  const argv = startInPowerShell(await translated("-aw", path));
  return { program, argv, cwd: dirname(program), patience: windowsPatience };
}

const powerShell = "\\System32\\WindowsPowerShell\\v1.0\\powershell.exe";

/** The command in the one form in which nothing of it is read twice. */
function startInPowerShell(path: string): string[] {
  // All of these end a text there, whichever of them began it.
  const quoted = `'${path.replace(/['\u2018-\u201b]/g, "$&$&")}'`;
  const command = `$ProgressPreference = 'SilentlyContinue'; Start-Process -FilePath ${quoted}`;
  const encoded = Buffer.from(command, "utf16le").toString("base64");
  return ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand", encoded];
}
