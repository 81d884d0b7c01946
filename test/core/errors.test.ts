import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  cancelled,
  DocprocError,
  type ErrorCode,
  exitStatuses,
  fromSystemError,
  isSystemError,
  throwIfCancelled,
  toDocprocError,
} from "../../src/core/errors.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

/** As Node throws it. */
function systemError(code: string, syscall = "open", path?: string): Error {
  return Object.assign(new Error(`${code}: it failed, ${syscall}`), { errno: -1, code, syscall, path });
}

test("the exit statuses are the published ones, and no code is without one", () => {
  expect(exitStatuses).toEqual({
    INTERNAL: 1,
    USAGE: 2,
    INVALID_CONFIG: 2,
    NOT_FOUND: 3,
    ACCESS_DENIED: 4,
    CONFLICT: 5,
    INTEGRITY: 6,
    PARTIAL: 7,
    UNAVAILABLE: 8,
    NOT_INITIALISED: 9,
    CANCELLED: 130,
  });
});

describe("an error", () => {
  test("as JSON has every field in a fixed order, null where there is nothing", () => {
    const error = new DocprocError("CONFLICT", "It exists.");
    expect(JSON.stringify(error)).toBe(
      '{"schema":"docproc.error/1","code":"CONFLICT","message":"It exists.","hint":null,"retryable":false,"requestId":null}',
    );
  });

  test("as JSON holds hint and request id, and never the cause", () => {
    const details = { hint: "Do this.", requestId: "R1", cause: new Error("secret") };
    const json = JSON.stringify(new DocprocError("UNAVAILABLE", "Not now.", details));
    expect(JSON.parse(json)).toMatchObject({ hint: "Do this.", requestId: "R1", retryable: true });
    expect(json).not.toContain("secret");
  });

  test("only what may pass by itself is retryable", () => {
    const codes = Object.keys(exitStatuses) as ErrorCode[];
    const retryable = codes.filter((code) => new DocprocError(code, "x").retryable);
    expect(retryable.toSorted()).toEqual(["CANCELLED", "UNAVAILABLE"]);
  });

  test("keeps what was thrown underneath as its cause", () => {
    const cause = new Error("underneath");
    expect(new DocprocError("INTERNAL", "x", { cause })).toMatchObject({ cause, name: "DocprocError" });
  });
});

describe("errors of the system", () => {
  test.each<[string, ErrorCode]>([
    ["ENOENT", "NOT_FOUND"],
    ["ENOTDIR", "NOT_FOUND"],
    ["ELOOP", "NOT_FOUND"],
    ["EACCES", "ACCESS_DENIED"],
    ["EPERM", "ACCESS_DENIED"],
    ["EROFS", "ACCESS_DENIED"],
    ["EISDIR", "USAGE"],
    ["ENAMETOOLONG", "USAGE"],
    ["EEXIST", "CONFLICT"],
    ["ENOSPC", "UNAVAILABLE"],
    ["EDQUOT", "UNAVAILABLE"],
    ["EMFILE", "UNAVAILABLE"],
    ["EIO", "UNAVAILABLE"],
    ["EBUSY", "UNAVAILABLE"],
  ])("%s is %s, with the path, a next step and the cause", (errno, code) => {
    const cause = systemError(errno);
    const error = fromSystemError(cause, "./my file");
    expect(error).toMatchObject({ code, cause, hint: expect.stringMatching(/\.$/) });
    expect(error.message).toMatch(/^\.\/my file .*\.$/);
  });

  test("an unknown one is named by its errno and the call", () => {
    expect(fromSystemError(systemError("EXDEV", "rename"), "a").message).toContain("EXDEV in rename");
  });

  test("one without a path still makes a sentence", () => {
    expect(fromSystemError(systemError("EIO", "read")).message).toMatch(/^The file could/);
  });

  test("the errors that Node throws are recognised", async () => {
    const { cwd } = await makeSandbox();
    const thrown = await open(join(cwd, "missing")).catch((error: unknown) => error);
    expect(isSystemError(thrown)).toBe(true);
    expect(fromSystemError(thrown, "missing").code).toBe("NOT_FOUND");
    expect(isSystemError(new TypeError("x"))).toBe(false);
    expect(isSystemError({ code: "ENOENT", syscall: "open" })).toBe(false);
  });

  test("a DocprocError stays unchanged", () => {
    const error = new DocprocError("INTEGRITY", "x");
    expect(fromSystemError(error, "a")).toBe(error);
    expect(toDocprocError(error)).toBe(error);
  });
});

describe("whatever is thrown", () => {
  test.each<[string, unknown, ErrorCode]>([
    ["an errno with a path", systemError("ENOENT", "open", "/x/y"), "NOT_FOUND"],
    ["an abort", new DOMException("The operation was aborted", "AbortError"), "CANCELLED"],
    ["a bug", new TypeError("x is not a function"), "INTERNAL"],
    ["a text", "oops", "INTERNAL"],
    ["nothing", undefined, "INTERNAL"],
    ["null", null, "INTERNAL"],
  ])("%s gets a code", (_what, thrown, code) => {
    const error = toDocprocError(thrown);
    expect(error).toBeInstanceOf(DocprocError);
    expect(error.code).toBe(code);
  });

  test("an errno keeps the path that the system named", () => {
    expect(toDocprocError(systemError("ENOENT", "open", "/x/y")).message).toContain("/x/y");
  });

  test("a bug says that it is one and keeps the message", () => {
    const error = toDocprocError(new TypeError("x is not a function"));
    expect(error.message).toContain("x is not a function");
    expect(error.hint).toContain("-v");
  });
});

describe("cancelling", () => {
  test("a signal that has not fired stops nothing", () => {
    expect(() => throwIfCancelled(new AbortController().signal)).not.toThrow();
  });

  test("the reason of the signal is what is thrown, where it is one of ours", () => {
    const reason = new DocprocError("CANCELLED", "Interrupted by SIGTERM.");
    expect(() => throwIfCancelled(AbortSignal.abort(reason))).toThrow(reason);
    expect(cancelled(AbortSignal.abort(reason))).toBe(reason);
  });

  test.each([
    ["no reason", AbortSignal.abort()],
    ["a text", AbortSignal.abort("stop")],
    ["no signal", undefined],
  ])("with %s it is a plain CANCELLED", (_what, signal) => {
    expect(cancelled(signal)).toMatchObject({ code: "CANCELLED", retryable: true });
  });
});

describe("the command line ends with the status of the error", () => {
  test.each<[string[], ErrorCode]>([
    [["upload"], "USAGE"],
    [["no-such-command"], "USAGE"],
    [["list", "--endpoint-url", "nonsense"], "INVALID_CONFIG"],
    [["show", "nothing"], "NOT_FOUND"],
    [["upload", "missing"], "NOT_FOUND"],
  ])("%j: %s", async (argv, code) => {
    const { status, stderr } = await runDocproc(await makeSandbox(), [...argv, "--json"]);
    expect(status).toBe(exitStatuses[code]);
    expect(JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({ schema: "docproc.error/1", code });
  });
});

test("a flag that there is not is told from a file of that name", async () => {
  const sandbox = await makeSandbox();
  const { stderr } = await runDocproc(sandbox, ["upload", "-5"]);
  expect(stderr).toContain("Unknown option '-5'.");
  expect(stderr).toContain("To name a file, write ./-5.");
  await writeFile(join(sandbox.cwd, "-5"), "x");
  expect(await runDocproc(sandbox, ["upload", "./-5"])).toMatchObject({ status: 0 });
  expect((await runDocproc(sandbox, ["list", "--buckte", "x"])).stderr).toContain("hint:  Did you mean --bucket?\n");
});
