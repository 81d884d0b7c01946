/** Validates the settings of every library. Errors are thrown as half a sentence. */

import bytes from "bytes-iec";
import ms from "ms";
import { joined, text } from "../core/values.ts";

/** Keys are `<prefix><rest>`, so a folder prefix ends in a slash. */
export function prefix(value: unknown): string {
  if (value === "") return "";
  const folder = text(value).replace(/\/*$/, "/");
  if (!/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*\/$/.test(folder) || /(^|\/)\.{1,2}\//.test(folder)) {
    throw new Error("it may contain letters, digits, dots, hyphens, underscores and single slashes");
  }
  if (folder.length > 512) throw new Error("it may have at most 512 characters");
  return folder;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export function partSize(value: unknown): number {
  const size = typeof value === "number" ? value : bytes.parse(text(value));
  if (size === null || !Number.isInteger(size)) throw new Error("it must be a size like 16MiB");
  if (size < 5 * 1024 ** 2 || size > 5 * 1024 ** 3) throw new Error("it must be from 5MiB to 5GiB");
  return size;
}

export function timeout(value: unknown): number {
  const time = duration(value);
  if (time >= 1000 && time <= 86_400_000) return time;
  throw new Error("it must be a time like 30s or 2m, from one second to one day");
}

/** Milliseconds, NaN for invalid text; a bare number is seconds, as in curl. */
export function duration(value: unknown): number {
  const given = String(value).trim();
  if (/^\d+(\.\d+)?$/.test(given)) return Number(given) * 1000;
  // ms() throws for empty text and for more than 100 characters.
  return given === "" || given.length > 100 ? Number.NaN : (ms(given as ms.StringValue) ?? Number.NaN);
}

/** Tags of every upload: a map in a file, `key=value,key=value` in a variable. Returns JSON, with `${…}` unexpanded. */
export function tags(value: unknown): string {
  const pairs = typeof value === "string" ? fromPairs(value) : value;
  if (typeof pairs !== "object" || pairs === null || Array.isArray(pairs))
    throw new Error("it must map keys to values");
  const map: Record<string, string> = Object.create(null);
  for (const [key, one] of Object.entries(pairs)) {
    if (key === "" || key.includes("=")) throw new Error(`${JSON.stringify(key)} is not a valid tag key`);
    if (!["string", "number", "boolean"].includes(typeof one)) throw new Error(`${JSON.stringify(key)} must be text`);
    map[key] = String(one);
  }
  return JSON.stringify(map);
}

function fromPairs(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.split(/=(.*)/s).slice(0, 2));
  if (pairs.some(([key, value]) => !key || value === undefined))
    throw new Error("it must look like key=value,key=value");
  return Object.fromEntries(pairs);
}

/** Names of variables: a list, or comma-separated. */
export function variableNames(value: unknown): string {
  const text = joined(value);
  if (typeof text === "string" && /^([A-Za-z_]\w*(,(?!$)|$))*$/.test(text)) return text;
  throw new Error("it must be names of variables, separated by commas");
}
