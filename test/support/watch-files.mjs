/**
 * Preloaded with `node --import`: writes a line of JSON to the file WATCH_FILES_LOG for whatever the process removes,
 * renames, truncates or writes over, whose mode or owner it changes, and for every program that it starts. Plain
 * JavaScript, since the oldest Node that runs docproc takes nothing else.
 */
import child_process from "node:child_process";
import fs from "node:fs";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { resolve } from "node:path";

const log = fs.openSync(process.env.WATCH_FILES_LOG, "a");
const { writeSync } = fs;
const tell = (operation, ...paths) => writeSync(log, `${JSON.stringify([operation, ...paths])}\n`);
const { readlinkSync } = fs;
/** Under the name of its directory, where it leads through a handle. */
const placeOf = (path) => path.replace(/^\/proc\/self\/fd\/\d+(?=\/)/, (handle) => readlinkSync(handle));
const absolute = (path) =>
  typeof path === "string" || path instanceof URL ? placeOf(resolve(String(path))) : `${path}`;

const withTwoPaths = ["rename", "cp", "copyFile"];
const withOne = ["rm", "rmdir", "unlink", "chmod", "lchmod", "chown", "lchown", "truncate", "utimes", "lutimes"];
for (const operation of [...withOne, ...withTwoPaths]) {
  const count = withTwoPaths.includes(operation) ? 2 : 1;
  for (const [table, name] of [
    [promises, operation],
    [fs, operation],
    [fs, `${operation}Sync`],
  ]) {
    const real = table[name];
    if (real === undefined) continue;
    table[name] = (...args) => {
      tell(operation, ...args.slice(0, count).map(absolute));
      return real(...args);
    };
  }
}

/** What opens a file, and how: a new file that has to be new is no one else's. */
const { O_ACCMODE = 3, O_RDONLY, O_EXCL } = fs.constants;
const mayChange = (flags = "r") =>
  typeof flags === "number"
    ? (flags & O_ACCMODE) !== O_RDONLY && (flags & O_EXCL) === 0
    : !["r", "rs", "sr"].includes(flags) && !flags.includes("x");
const paths = new WeakMap();
const { open } = promises;
promises.open = async (path, flags, ...rest) => {
  if (mayChange(flags)) tell("open to write", absolute(path));
  const handle = await open(path, flags, ...rest);
  paths.set(handle, absolute(path));
  return handle;
};
for (const name of ["open", "openSync"]) {
  const real = fs[name];
  fs[name] = (path, ...rest) => {
    if (mayChange(typeof rest[0] === "function" ? undefined : rest[0])) tell("open to write", absolute(path));
    return real(path, ...rest);
  };
}
for (const operation of ["writeFile", "appendFile"]) {
  for (const [table, name] of [
    [promises, operation],
    [fs, operation],
    [fs, `${operation}Sync`],
  ]) {
    const real = table[name];
    table[name] = (path, data, options, ...rest) => {
      const flag = options?.flag ?? (operation === "writeFile" ? "w" : "a");
      if (mayChange(flag)) tell("open to write", absolute(path));
      return real(path, data, options, ...rest);
    };
  }
}
const { createWriteStream } = fs;
fs.createWriteStream = (path, options) => {
  tell("open to write", absolute(path));
  return createWriteStream(path, options);
};

const some = await open(process.execPath);
const handles = Object.getPrototypeOf(some);
await some.close();
for (const operation of ["chmod", "chown", "truncate", "utimes"]) {
  const real = handles[operation];
  handles[operation] = function (...args) {
    tell(`handle.${operation}`, paths.get(this) ?? "an unknown file");
    return Reflect.apply(real, this, args);
  };
}
for (const operation of ["fchmod", "fchown", "ftruncate", "futimes"]) {
  for (const name of [operation, `${operation}Sync`]) {
    const real = fs[name];
    fs[name] = (...args) => {
      tell(operation, `${args[0]}`);
      return real(...args);
    };
  }
}

// Whatever starts a program, and waits for it or not, ends in one of these.
const children = child_process.ChildProcess.prototype;
const { spawn } = children;
children.spawn = function (options) {
  tell("start", String(options.file));
  return Reflect.apply(spawn, this, [options]);
};
for (const name of ["spawnSync", "execSync", "execFileSync"]) {
  const real = child_process[name];
  child_process[name] = (file, ...rest) => {
    tell("start", String(file));
    return real(file, ...rest);
  };
}
syncBuiltinESMExports();
