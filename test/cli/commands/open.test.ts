/** `docproc open`: a copy of a document in the hands of the desktop, which here is a script named xdg-open. */
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { openLibrary } from "../../support/library.ts";
import { docproc } from "../../support/process.ts";

// Elsewhere it is another program that opens files.
describe.skipIf(process.platform !== "linux")("opening", () => {
  /** A library on a desktop whose opener runs these lines of shell, `$1` being the file. */
  async function openOnDesktop(script: string) {
    const library = await openLibrary();
    const { root } = library.sandbox;
    const [bin, TMPDIR] = [join(root, "bin"), join(root, "tmp")];
    await Promise.all([mkdir(bin), mkdir(TMPDIR)]);
    await writeFile(join(bin, "xdg-open"), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, "xdg-open"), 0o755);
    const desktop = { PATH: `${bin}:/usr/bin:/bin`, TMPDIR, DISPLAY: ":7" };
    const open = async (argv: readonly string[], env: Record<string, string | undefined> = {}) =>
      await docproc(library.sandbox, ["open", ...argv, "--directory", library.sandbox.data], {
        env: { ...desktop, ...env },
      });
    return { ...library, open, bin, opened: join(root, "opened"), temporary: () => readdir(TMPDIR) };
  }
  const tell = 'printf %s "$1" > "$TMPDIR/../opened"';

  test("shows a read-only copy with the document's own name, in a directory that is this user's alone", async () => {
    const { open, upload, opened, sandbox } = await openOnDesktop(tell);
    const { id } = await upload("letters/März 2026; rm -rf $HOME.txt", "hello");
    const outcome = await open([id, "--json"]);
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    await expect.poll(() => readFile(opened, "utf8")).not.toBe("");
    const file = await readFile(opened, "utf8");
    const name = "März 2026; rm -rf $HOME.txt";
    expect(JSON.parse(outcome.stdout)).toEqual({ schema: "docproc.open/1", id, path: `letters/${name}`, file });
    expect(basename(file)).toBe(name);
    expect(await readFile(file, "utf8")).toBe("hello");
    expect((await stat(file)).mode & 0o777).toBe(0o400);
    expect((await stat(dirname(file))).mode & 0o777).toBe(0o700);
    expect(file).not.toContain(sandbox.data);
  });

  test("does not wait for a viewer that stays", async () => {
    const { open, upload } = await openOnDesktop("sleep 100");
    const { id } = await upload("a.txt", "a");
    const before = Date.now();
    expect(await open(["a.txt", "-q"])).toMatchObject({ status: 0, stdout: `${id}\n` });
    expect(Date.now() - before).toBeLessThan(60_000);
  });

  test.each([["exit 3"], [undefined]])("says that the desktop has nothing for it: %s", async (script) => {
    const { open, upload, bin } = await openOnDesktop(script ?? "");
    if (script === undefined) await rm(join(bin, "xdg-open"));
    await upload("a.txt", "a");
    const outcome = await open(["a.txt", "--json"], { PATH: bin.concat(script === undefined ? "" : ":/bin") });
    expect(outcome.status).toBe(3);
    const { code, message } = JSON.parse(outcome.stdout);
    expect({ code, message }).toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining("no application") });
    const [, path = ""] = /application for (.+)\.$/.exec(message) ?? [];
    expect(await readFile(path, "utf8")).toBe("a");
  });

  test("never shows what is damaged, and leaves nothing of it", async () => {
    const { open, upload, opened, temporary } = await openOnDesktop(tell);
    const { uri } = await upload("a.txt", "a");
    await chmod(new URL(uri), 0o600);
    await writeFile(new URL(uri), "b");
    expect(await open(["a.txt"])).toMatchObject({ status: 6, stdout: "" });
    await expect(stat(opened)).rejects.toThrow("ENOENT");
    expect(await temporary()).toEqual([]);
  });

  test.each([
    [{ DISPLAY: undefined }, /neither DISPLAY nor WAYLAND_DISPLAY/],
    [{ CI: "true" }, /CI job/],
    [{ JENKINS_URL: "https://ci.example", BUILD_ID: "7" }, /CI job/],
  ])("is refused without a desktop: %j", async (env, message) => {
    const { open, upload, temporary } = await openOnDesktop(tell);
    await upload("a.txt", "a");
    const { status, stdout, stderr } = await open(["a.txt"], env);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr).toContain("docproc download");
    expect(await temporary()).toEqual([]);
  });

  test("works on Wayland, and names a missing document", async () => {
    const { open, upload } = await openOnDesktop(tell);
    await upload("a.txt", "a");
    const wayland = { DISPLAY: undefined, WAYLAND_DISPLAY: "wayland-0", CI: "false" };
    expect(await open(["a.txt"], wayland)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^opened \S+ {2}\//),
    });
    expect(await open(["b.txt"])).toMatchObject({ status: 3 });
  });
});
