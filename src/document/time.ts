/** Times as users type them: ages, terms and dates. */
import ms from "ms";
import { DocprocError } from "../core/errors.ts";

/** The last time with a year of four digits, as in RFC 3339. */
const latest = Date.parse("9999-12-31T23:59:59.999Z");

/** Milliseconds of a duration like `7d` or `24h`; undefined for other text. */
export function durationOf(text: string): number | undefined {
  return /^\d+(\.\d+)?\s*[a-z]+$/i.test(text) ? ms(text as ms.StringValue) : undefined;
}

/** Milliseconds since the epoch of a date, in UTC unless it has a zone; undefined for other text. */
export function dateOf(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) return undefined;
  const day = text.slice(0, 10);
  const zoned = /T/.test(text) && !/(Z|[+-]\d{2}:\d{2})$/.test(text) ? `${text}Z` : text;
  const time = Date.parse(zoned);
  // Date.parse would turn February 30th into a day in March.
  const exists = !Number.isNaN(time) && new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
  return exists ? time : undefined;
}

/**
 * Parses when a document expires: a term like `30d`, or a date.
 * @param flag for the message
 * @param now milliseconds since the epoch
 * @returns RFC 3339 in UTC with milliseconds
 * @throws USAGE for other text, and for a time that is past or beyond the year 9999
 */
export function parseExpiry(flag: string, text: string, now: number): string {
  const term = durationOf(text);
  const time = term === undefined ? dateOf(text) : Math.floor(now + term);
  const objection = objectionTo(time, now);
  if (time !== undefined && objection === undefined) return new Date(time).toISOString();
  throw new DocprocError("USAGE", `${flag} ${JSON.stringify(text)} ${objection}.`, {
    hint: "Use a term such as 30d or 12h, or a date such as 2030-01-31 or 2030-01-31T12:00:00Z.",
  });
}

function objectionTo(time: number | undefined, now: number): string | undefined {
  if (time === undefined) return "is not a time";
  if (time <= now) return "is in the past";
  return time > latest ? "is too far away" : undefined;
}
