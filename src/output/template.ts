/** `--format`: a line of text with the fields of what a command reports. Names and escapes, and nothing to be run. */
import { DocprocError } from "../errors.ts";
import { nearestTo } from "../suggestion.ts";

export type Template = (value: object) => string;

/** `\n` and its like, `{{` and `}}` for a brace, or `{name}`; what else begins like one of them is a mistake. */
const piece = /\\(.?)|\{\{|\}\}|\{([^{}]*)\}|([{}])/gs;
const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "0": "\0", "\\": "\\" };

/**
 * @param shown how a value is printed; what the template itself says is printed as it is
 * @param fields that an item has, for whoever misspells one
 * @throws USAGE for what is no template, or names a field that there is not
 */
export function parseTemplate(
  text: string,
  fields: readonly string[],
  shown: (value: string) => string = (value) => value,
): Template {
  const pieces: (string | readonly [path: string])[] = [];
  let end = 0;
  for (const match of text.matchAll(piece)) {
    const [whole, letter, path, brace] = match;
    pieces.push(text.slice(end, match.index));
    end = match.index + whole.length;
    if (brace !== undefined) throw notTemplate(text, `${brace} stands alone`, `Write ${brace}${brace} for a brace.`);
    if (path !== undefined) pieces.push([known(path, fields)]);
    else if (letter === undefined) pieces.push(whole.slice(1));
    else if (Object.hasOwn(escapes, letter)) pieces.push(escapes[letter] ?? "");
    else throw notTemplate(text, `${whole} means nothing`, "There are \\n, \\t, \\r, \\0 and \\\\.");
  }
  pieces.push(text.slice(end));
  return (value) =>
    pieces.map((one) => (typeof one === "string" ? one : shown(textOf(valueAt(value, one[0]))))).join("");
}

function known(path: string, fields: readonly string[]): string {
  const [field = ""] = path.split(".");
  if (fields.includes(field)) return path;
  const nearest = field === "" ? undefined : nearestTo(field, fields);
  throw new DocprocError("USAGE", `There is no field ${JSON.stringify(path)}.`, {
    hint: nearest ? `Did you mean {${nearest}}?` : `Fields: ${fields.join(", ")}. Of tags: {tags.KEY}.`,
  });
}

/** Keys may hold dots: the longest one that is there counts. */
function valueAt(value: unknown, path: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  if (Object.hasOwn(value, path)) return Reflect.get(value, path);
  for (let dot = path.lastIndexOf("."); dot > 0; dot = path.lastIndexOf(".", dot - 1)) {
    const key = path.slice(0, dot);
    if (Object.hasOwn(value, key)) return valueAt(Reflect.get(value, key), path.slice(dot + 1));
  }
  return undefined;
}

/** Nothing for what is unknown; JSON for what has parts. */
function textOf(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function notTemplate(text: string, why: string, hint: string): DocprocError {
  return new DocprocError("USAGE", `--format ${JSON.stringify(text)} is no template: ${why}.`, { hint });
}
