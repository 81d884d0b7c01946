/** Which program shows a file on desktops that this machine is not: scripts stand in for the ones of Windows. */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { assertNoProgram, showOnDesktop } from "../../src/cli/desktop.ts";
import { makeSandbox } from "../support/run.ts";

const powerShell = "\\System32\\WindowsPowerShell\\v1.0\\powershell.exe";
const uid = process.getuid?.();

async function makeDesktop() {
  const { root, cwd } = await makeSandbox();
  const bin = join(root, "bin");
  await mkdir(bin);
  const script = async (path: string, lines: string) => {
    await writeFile(path, `#!/bin/sh\n${lines}\n`);
    await chmod(path, 0o755);
  };
  const told = async () => (await readFile(join(root, "told"), "utf8")).split("\n");
  const owners = uid === undefined ? undefined : new Set([0, uid]);
  const desktop = { cwd, owners, signal: new AbortController().signal };
  return { root, bin, script, told, desktop, tell: `printf '%s\\n' "$0" "$@" > ${root}/told` };
}

/** What PowerShell is told to do. */
function commandIn(argv: readonly string[]): string {
  const encoded = argv[argv.indexOf("-EncodedCommand") + 1] ?? "";
  return Buffer.from(encoded, "base64").toString("utf16le");
}

test.each([
  ...["x.pdf.exe", "a.HTA", "b.lnk", "c.bat. ", "d.command", "e.desktop"].map((name) => [name, false] as const),
  ...["x.pdf", "exe", "a.exe.txt", "notes.txt", "c.tar.gz"].map((name) => [name, true] as const),
])("a file that a desktop would run is not opened: %j", (name, opens) => {
  if (opens) expect(() => assertNoProgram(name)).not.toThrow();
  else expect(() => assertNoProgram(name)).toThrow(expect.objectContaining({ code: "USAGE" }));
});

describe.skipIf(process.platform === "win32")("a file is shown", () => {
  test("by the PowerShell of Windows, whatever its name holds", async () => {
    const { root, script, told, tell, desktop } = await makeDesktop();
    const program = `${root}/Windows${powerShell}`;
    await script(program, tell);
    const env = { SYSTEMROOT: join(root, "Windows") };
    await showOnDesktop(join(root, "it's ‘a’ ‚b‛ $(c).txt"), { ...desktop, env, platform: "win32" });
    const [started, ...argv] = await told();
    expect(started).toBe(program);
    const quoted = `'${root}/it''s ‘‘a’’ ‚‚b‛‛ $(c).txt'`;
    expect(commandIn(argv)).toBe(`$ProgressPreference = 'SilentlyContinue'; Start-Process -FilePath ${quoted}`);
    await script(program, "exit 1");
    await expect(showOnDesktop(join(root, "a"), { ...desktop, env, platform: "win32" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("by Windows from a Linux on it, or else by what Linux has", async () => {
    const { root, bin, script, told, tell, desktop } = await makeDesktop();
    const env = { WSL_DISTRO_NAME: "Debian", PATH: `${bin}:/usr/bin:/bin` };
    const shown = async () => {
      await showOnDesktop(join(root, "a.txt"), { ...desktop, env, platform: "linux" });
      return await told();
    };
    await script(join(bin, "xdg-open"), tell);
    expect(await shown()).toEqual([join(bin, "xdg-open"), join(root, "a.txt"), ""]);
    await script(join(bin, "wslpath"), `[ "$1" = -u ] && echo ${root}/powershell.exe || printf 'C:\\\\%s\\r\\n' "$1"`);
    expect((await shown())[0]).toBe(join(bin, "xdg-open"));
    await script(join(root, "powershell.exe"), tell);
    const [started, ...argv] = await shown();
    expect(started).toBe(join(root, "powershell.exe"));
    expect(commandIn(argv)).toContain("-FilePath 'C:\\-aw'");
  });
});
