/**
 * Which tests are unit tests: those that start nothing, no other process and no server. They need no bundle, and run
 * in seconds. A file is one if neither it nor what it imports below test/ imports a module of Node that can start one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const starters = /["']node:(?:child_process|http|https|http2|net|tls)["']/;

/** Paths from the root, with `/` on every system. */
export function unitTests(): string[] {
  const names = readdirSync("test", { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const files = new Map(names.map((name) => [join("test", name), readFileSync(join("test", name), "utf8")]));
  const startsSomething = (path: string, seen: Set<string>): boolean => {
    const code = files.get(path);
    if (code === undefined || seen.has(path)) return false;
    seen.add(path);
    if (starters.test(code)) return true;
    const imports = [...code.matchAll(/\bfrom "(\.[^"]+)"/g)].map(([, to = ""]) => normalize(join(dirname(path), to)));
    return imports.some((to) => startsSomething(to, seen));
  };
  return [...files.keys()]
    .filter((path) => path.endsWith(".test.ts") && !startsSomething(path, new Set()))
    .map((path) => path.replaceAll("\\", "/"));
}
