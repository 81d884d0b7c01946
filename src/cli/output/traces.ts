/** Stack traces for `-v` and bug reports, with lines of src/: a build has all code of a file on one line. */
import { readFileSync } from "node:fs";
import { SourceMap, type SourceMapping } from "node:module";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** The traces of an error and of each of its causes. */
export function tracesOf(error: Error): string[] {
  const toSource = sourceMapper();
  const traces: string[] = [];
  const seen = new Set<unknown>();
  for (let cause: unknown = error; cause instanceof Error && !seen.has(cause); cause = cause.cause) {
    seen.add(cause);
    // Name and message may be a server's words, so they must not form lines of their own.
    const title = `${cause.name}: ${cause.message}`.replaceAll("\n", "\\n");
    traces.push([title, ...framesOf(cause).map(toSource)].join("\n"));
  }
  return traces;
}

function framesOf({ stack = "", message }: Error): string[] {
  const start = stack.indexOf(message);
  const lines = (start < 0 ? stack : stack.slice(start + message.length)).split("\n");
  return lines.slice(lines.findLastIndex((line) => !line.startsWith("    at ")) + 1);
}

/** Maps the frames of this build to the sources, and leaves all others unchanged. */
function sourceMapper(): (frame: string) => string {
  const folder = dirname(fileURLToPath(import.meta.url)) + sep;
  const maps = new Map<string, SourceMap | undefined>();
  return (frame) => {
    const [before, after] = frame.split(folder, 2);
    const [place, file = "", line, column] = /^([\w-]+\.js):(\d+):(\d+)/.exec(after ?? "") ?? [];
    if (after === undefined || place === undefined) return frame;
    if (!maps.has(file)) maps.set(file, readMap(join(folder, `${file}.map`)));
    const entry = entryIn(maps.get(file), Number(line) - 1, Number(column) - 1);
    if (typeof entry?.originalSource !== "string") return frame;
    const source = entry.originalSource.replace(/^(\.\.\/)+/, "");
    return `${before}${source}:${(entry.originalLine ?? 0) + 1}:${(entry.originalColumn ?? 0) + 1}${after.slice(place.length)}`;
  };
}

/** Undefined also for a map that is not one: a trace without lines is better than none. */
function entryIn(map: SourceMap | undefined, line: number, column: number): Partial<SourceMapping> | undefined {
  try {
    return map?.findEntry(line, column) as Partial<SourceMapping> | undefined;
  } catch {
    return undefined;
  }
}

function readMap(path: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}
