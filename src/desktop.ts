/** The desktop of whoever runs the program: it shows a file with what is installed for its type. */
import { readCi } from "./ci.ts";
import { DocprocError } from "./errors.ts";

/** Milliseconds for a desktop to say that it has nothing for a file. One that shows it may take as long as it likes. */
const patience = 2_000;

/**
 * @param platform as Node names it
 * @throws USAGE where there is no desktop: in a CI job, and on Linux without a display
 */
export function assertDesktop(env: Readonly<Record<string, string | undefined>>, platform: string): void {
  const hint = "docproc download REF writes it to a file.";
  // Not every system has a name, but most set CI.
  const inCi = readCi(env) !== null || (env["CI"] && env["CI"] !== "false");
  if (inCi) throw new DocprocError("USAGE", "In a CI job there is no desktop to open it on.", { hint });
  const isOwnDesktop = platform === "darwin" || platform === "win32" || env["WSL_DISTRO_NAME"];
  if (isOwnDesktop || env["DISPLAY"] || env["WAYLAND_DISPLAY"]) return;
  throw new DocprocError("USAGE", "There is no desktop: neither DISPLAY nor WAYLAND_DISPLAY is set.", { hint });
}

/**
 * Opens a file as a double click would, and does not wait until it is closed.
 * @throws NOT_FOUND when the desktop has nothing that opens it
 */
export async function showOnDesktop(path: string): Promise<void> {
  const failure = (cause?: unknown) =>
    new DocprocError("NOT_FOUND", `This desktop has nothing to open ${path} with.`, {
      hint: "The file is there: open it with a program of your choice.",
      cause,
    });
  const { default: open } = await import("open");
  const opener = await open(path).catch((error: unknown) => {
    throw failure(error);
  });
  // xdg-open ends at once where it hands the file over, and stays where it is the viewer's parent.
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, opener.exitCode === null ? patience : 0);
    opener.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  if ((opener.exitCode ?? 0) !== 0) throw failure();
}
