/** `--format`: a line template with the fields of a result. It has names and escapes, and executes nothing. */
import { DocprocError } from "../../core/errors.ts";
import { nearestTo } from "../../core/suggestion.ts";
import { type LinePiece, withoutCommands } from "./runner-commands.ts";

export type Template = (value: object) => string;

/** Escapes such as `\n`, `{{` and `}}` for braces, or `{name}`; anything else that begins like these is an error. */
const piece = /\\(.?)|\{\{|\}\}|\{([^{}]*)\}|([{}])/gs;
const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "0": "\0", "\\": "\\" };

/** Text, or the path of a field. */
export type TemplatePiece = LinePiece | readonly [path: string];

export interface TemplateOptions {
  /** Prints a value; the template's own text is printed unchanged. */
  readonly shown?: ((value: string) => string) | undefined;
  /** Joins the template's own text and the values to a line. */
  readonly join?: ((pieces: readonly LinePiece[]) => string) | undefined;
}

/**
 * @param fields of an item
 * @throws USAGE for an invalid template or an unknown field
 */
export function parseTemplate(
  text: string,
  fields: readonly string[],
  { shown = (value) => value, join = plainly }: TemplateOptions = {},
): Template {
  const pieces = templatePieces(text, fields, { flag: "--format", backslashes: true });
  return (value) =>
    join(pieces.map((one) => ("own" in one ? one : { text: shown(fieldText(value, one[0])), own: false })));
}

/**
 * The pieces of a template in order.
 * @param backslashes whether they escape; otherwise they are text
 * @throws USAGE for an invalid template or an unknown field
 */
export function templatePieces(
  text: string,
  fields: readonly string[],
  { flag, backslashes }: { readonly flag: string; readonly backslashes: boolean },
): TemplatePiece[] {
  const pieces: TemplatePiece[] = [];
  const notTemplate = (why: string, hint: string) =>
    new DocprocError("USAGE", `${flag} ${JSON.stringify(text)} is not a template: ${why}.`, { hint });
  const say = (literal: string) => pieces.push({ text: literal, own: true });
  let end = 0;
  for (const match of text.matchAll(piece)) {
    const [whole, letter, path, brace] = match;
    say(text.slice(end, match.index));
    end = match.index + whole.length;
    if (brace !== undefined) throw notTemplate(`${brace} has no counterpart`, `Write ${brace}${brace} for a brace.`);
    if (path !== undefined) pieces.push([known(path, fields)]);
    else if (letter === undefined) say(whole.slice(1));
    else if (!backslashes) say(whole);
    else if (Object.hasOwn(escapes, letter)) say(escapes[letter] ?? "");
    else throw notTemplate(`${whole} is not an escape`, "Use \\n, \\t, \\r, \\0 or \\\\.");
  }
  say(text.slice(end));
  return pieces;
}

/** The text of a field: empty for unknown values; JSON for objects. */
export function fieldText(value: object, path: string): string {
  return textOf(valueAt(value, path));
}

function plainly(pieces: readonly LinePiece[]): string {
  return pieces.map(({ text }) => text).join("");
}

function known(path: string, fields: readonly string[]): string {
  const [field = ""] = path.split(".");
  if (fields.includes(field)) return path;
  const nearest = field === "" ? undefined : nearestTo(field, fields);
  throw new DocprocError("USAGE", `There is no field ${JSON.stringify(path)}.`, {
    hint: nearest ? `Did you mean {${nearest}}?` : `Fields: ${fields.join(", ")}. Of tags: {tags.KEY}.`,
  });
}

/** Keys may contain dots: the longest existing one wins. */
function valueAt(value: unknown, path: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  if (Object.hasOwn(value, path)) return Reflect.get(value, path);
  for (let dot = path.lastIndexOf("."); dot > 0; dot = path.lastIndexOf(".", dot - 1)) {
    const key = path.slice(0, dot);
    if (Object.hasOwn(value, key)) return valueAt(Reflect.get(value, key), path.slice(dot + 1));
  }
  return undefined;
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return "";
  // As in --json: a number sign occurs only in strings, where it may be escaped.
  return typeof value === "object" ? withoutCommands(JSON.stringify(value), "\\u0023") : String(value);
}
