/**
 * A file system that fails, for this process and below some directories only, until the test ends.
 * https://nodejs.org/api/module.html#modulesyncbuiltinesmexports makes `import { open }` follow.
 */
import promises, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { sep } from "node:path";
import { onTestFinished } from "vitest";
import { NthCall } from "./nth-call.ts";
import { placeOf } from "./through-handle.ts";

export type FsFault =
  /** Not done, but for a file that is closed: that is closed all the same. */
  | { readonly kind: "error"; readonly code: keyof typeof errors; readonly lasting?: boolean }
  /** Fewer bytes are read or written than were asked for, as the system may do at any time. */
  | { readonly kind: "short" };

export interface FaultyFileSystem {
  /** What is below this directory can fail. */
  include(directory: string): void;
  /** Lets the n-th operation that can fail like this do so; counted from now. */
  arm(fault: FsFault, n: number): void;
  /** Ends it. Returns what failed, as `operation path`. */
  disarm(): string[];
  /** From now on nothing can be given a second name. */
  withoutHardLinks(): void;
  /** What was opened in there and is not closed. */
  openFiles(): string[];
}

const errors = {
  EIO: [-5, "i/o error"],
  ENOSPC: [-28, "no space left on device"],
  EPERM: [-1, "operation not permitted"],
} as const;
const pathOperations = [
  ...["access", "chmod", "link", "lstat", "mkdir", "open", "opendir", "readdir", "readFile", "rename", "rm"],
  ...["rmdir", "stat", "unlink", "writeFile"],
];
const handleOperations = ["chmod", "close", "read", "stat", "sync", "write"];
const needsSpace = new Set(["close", "link", "mkdir", "open", "rename", "sync", "write", "writeFile"]);

type AnyFunction = (...args: unknown[]) => Promise<unknown>;

export function breakFileSystem(): FaultyFileSystem {
  const directories: string[] = [];
  /** The first path that is in there. */
  const pathInside = (args: readonly unknown[]) =>
    args
      .flatMap((path) => (typeof path === "string" ? [placeOf(path)] : []))
      .find((path) => directories.some((directory) => path.startsWith(directory + sep)));
  const table = promises as unknown as Record<string, AnyFunction>;
  const real = Object.fromEntries(pathOperations.map((name) => [name, table[name] as AnyFunction]));
  const openFiles = new Map<object, string>();
  const nth = new NthCall();
  let armed: FsFault | undefined;

  let links = true;

  /** Does an operation, or not, or in part. */
  async function act(operation: string, path: string, args: unknown[], done: (args: unknown[]) => Promise<unknown>) {
    if (operation === "link" && !links) throw systemError("EPERM", operation, path);
    if (!armed || !canFail(armed, operation, args) || !nth.isDue(`${operation} ${path}`)) return await done(args);
    if (armed.kind === "short") return await done(shortened(args));
    // Linux releases the descriptor whatever close(2) answers.
    if (operation === "close") await done(args);
    if (operation === "writeFile") await done([args[0], String(args[1]).slice(0, 1), ...args.slice(2)]);
    throw systemError(armed.code, operation, path);
  }

  function watch(handle: FileHandle, path: string, flags: unknown): FileHandle {
    openFiles.set(handle, path);
    const own = handle as unknown as Record<string, AnyFunction>;
    for (const operation of handleOperations) {
      const method = own[operation] as AnyFunction;
      own[operation] = async (...args) => {
        if (operation === "close") openFiles.delete(handle);
        const call = operation === "close" ? [path, flags] : args;
        return await act(operation, path, call, async (changed) => await Reflect.apply(method, handle, changed));
      };
    }
    return handle;
  }

  for (const operation of pathOperations) {
    const original = real[operation] as AnyFunction;
    table[operation] = async (...args) => {
      const path = pathInside(args);
      if (path === undefined) return await original(...args);
      const result = await act(operation, path, args, async (changed) => await original(...changed));
      return operation === "open" ? watch(result as FileHandle, path, args[1]) : result;
    };
  }
  syncBuiltinESMExports();
  onTestFinished(() => {
    Object.assign(table, real);
    syncBuiltinESMExports();
  });

  return {
    include: (directory) => void directories.push(directory),
    arm(fault, n) {
      armed = fault;
      nth.arm(n, fault.kind === "error" && fault.lasting);
    },
    disarm() {
      armed = undefined;
      return nth.disarm();
    },
    withoutHardLinks() {
      links = false;
    },
    openFiles: () => [...openFiles.values()],
  };
}

function systemError(code: keyof typeof errors, syscall: string, path: string): Error {
  const [errno, text] = errors[code];
  return Object.assign(new Error(`${code}: ${text}, ${syscall} '${path}'`), { errno, code, syscall, path });
}

function canFail(fault: FsFault, operation: string, args: unknown[]): boolean {
  if (fault.kind === "short") return (operation === "read" || operation === "write") && Number(args[2]) > 1;
  if (fault.code === "EIO") return true;
  // Opening and closing need space only where something is written.
  const writes = (Number(args[1]) & (promises.constants.O_WRONLY | promises.constants.O_RDWR)) !== 0;
  return needsSpace.has(operation) && (writes || (operation !== "open" && operation !== "close"));
}

/** The arguments of read() and write(): a buffer, where in it, and how many bytes. */
function shortened([buffer, offset, length, ...rest]: unknown[]): unknown[] {
  return [buffer, offset, Math.floor(Number(length) / 2), ...rest];
}
