/** Somebody at a terminal, with a shell that completes command lines of docproc. */
import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { findOnPath } from "./on-path.ts";
import { cli, docproc } from "./process.ts";
import type { Sandbox } from "./run.ts";

export type Shell = "bash" | "zsh" | "fish";

/** Those of this machine. bash is no question: the project's own checks are written in it. */
export const shells = (["bash", "zsh", "fish"] as const).filter(
  (name) => name === "bash" || findOnPath(name) !== undefined,
);

const startedAs: Record<Shell, string> = { bash: "bash --norc -i", zsh: "zsh -f -i", fish: "fish --no-config -i" };

/** As docs/completion.md says; of the two ways of zsh this is the one in which it finds the script by itself. */
const setUps: Record<Shell, (folder: string) => string> = {
  bash: () => 'eval "$(docproc completion bash)"',
  zsh: (folder) => `fpath=(${folder} $fpath); autoload -Uz compinit; compinit -u -D`,
  fish: (folder) => `source ${folder}/fish`,
};

const wait = 60_000;

/** A folder with a program `docproc` that only notes what it is called with, completions apart, and the shells' scripts. */
async function scripts(sandbox: Sandbox): Promise<{ folder: string; noted: string }> {
  const [folder, noted] = [join(sandbox.root, "bin"), join(sandbox.root, "noted")];
  await mkdir(folder);
  await writeFile(noted, "");
  const note = `if [ "\${1#complet}" = "$1" ]; then printf '<%s>' "$@" >> '${noted}'; echo >> '${noted}'; exit; fi`;
  await writeFile(join(folder, "docproc"), `#!/bin/sh\n${note}\nexec '${process.execPath}' '${cli}' "$@"\n`);
  await chmod(join(folder, "docproc"), 0o755);
  for (const shell of shells) {
    const { stdout } = await docproc(sandbox, ["completion", shell]);
    await writeFile(join(folder, shell === "zsh" ? "_docproc" : shell), stdout);
  }
  return { folder, noted };
}

/** With the library that the tests of a process of their own have. */
function environment({ root, home, data }: Sandbox, folder: string) {
  const places = { DATA: "data", CONFIG: "config", STATE: "state", CACHE: "cache" };
  const xdg = Object.entries(places).map(([name, path]) => [`XDG_${name}_HOME`, join(root, path)]);
  const PATH = `${folder}:${process.env["PATH"]}`;
  return { ...Object.fromEntries(xdg), HOME: home, DOCPROC_DIRECTORY: data, PATH, TERM: "dumb", LC_ALL: "C.UTF-8" };
}

/**
 * Types lines at a terminal, one after the other, and returns what `docproc` was called with by each of them: that is
 * what a completion put there, whatever it looks like. A line that does not call it fails.
 * @param lines with "\t" for Tab and "\u0015" for taking back what was typed so far
 */
export async function typed(sandbox: Sandbox, shell: Shell, lines: readonly string[]): Promise<string[]> {
  const { folder, noted } = await scripts(sandbox);
  const env = environment(sandbox, folder);
  // The terminal is that of https://man7.org/linux/man-pages/man1/script.1.html
  const child = spawn("script", ["-qec", startedAs[shell], "/dev/null"], { cwd: sandbox.cwd, env });
  onTestFinished(() => void child.kill("SIGKILL"));
  let screen = "";
  child.stdout.on("data", (chunk) => {
    screen += chunk;
  });
  const notes = async () => (await readFile(noted, "utf8")).split("\n").slice(0, -1);
  for (const [index, line] of [`${setUps[shell](folder)}; docproc ready`, ...lines].entries()) {
    child.stdin.write(`${line}\n`);
    const end = Date.now() + wait;
    while ((await notes()).length <= index) {
      if (Date.now() > end) throw new Error(`${shell} did not call docproc after ${JSON.stringify(line)}:\n${screen}`);
      await sleep(20);
    }
  }
  child.stdin.end();
  return (await notes()).slice(1);
}
