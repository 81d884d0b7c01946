// What S3 makes of the headers and query parameters of a request.
import { invalidArgument, S3Error } from "./errors.ts";

/** Headers of a request, or the parameters of its query. */
export type Headers = Readonly<Record<string, string>>;

/** undefined: no range, or one of a form that S3 ignores. */
export function readRange(header: string | undefined, size: number): { first: number; last: number } | undefined {
  const [, from = "", to = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (header === undefined || (from === "" && to === "")) return undefined;
  if (from !== "" && to !== "" && Number(to) < Number(from)) return undefined;
  const first = from === "" ? Math.max(size - Number(to), 0) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (first < size) return { first, last };
  const extra = { RangeRequested: header, ActualObjectSize: size };
  throw new S3Error(416, "InvalidRange", "The requested range is not satisfiable", extra);
}

export function readCount(query: Headers, name: string, fallback: number, cap: number, least = 0): number {
  const text = query[name] ?? String(fallback);
  const value = Number(text);
  if (/^\d{1,10}$/.test(text) && value >= least && value <= 0x7fffffff) return Math.min(value, cap);
  throw invalidArgument(`Provided ${name} not an integer or within integer range`, name, text);
}

export const makeToken = (last: string) => Buffer.from(`after ${last}`).toString("base64url");
export function readToken(token: string | undefined): string | undefined {
  const text = Buffer.from(token ?? "", "base64url").toString();
  if (token === undefined) return undefined;
  if (makeToken(text.slice(6)) === token) return text.slice(6);
  throw invalidArgument("The continuation token provided is incorrect", "continuation-token", token);
}

export function nameEncoder(query: Headers): (name: string) => string {
  const type = query["encoding-type"];
  if (type === undefined) return (name) => name;
  if (type !== "url") throw invalidArgument("Invalid Encoding Method specified in Request", "encoding-type", type);
  return (name) => percentEncode(name).replaceAll("%20", "+");
}
export const percentEncode = (key: string) => encodeURIComponent(key).replaceAll("%2F", "/");
