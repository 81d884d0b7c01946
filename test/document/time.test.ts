/** When a document expires, as it is typed. */
import { describe, expect, test } from "vitest";
import { parseExpiry } from "../../src/document/time.ts";

const now = Date.parse("2026-11-30T12:00:00.500Z");

describe("a time of expiry", () => {
  test.each([
    ["30d", "2026-12-30T12:00:00.500Z"],
    ["12h", "2026-12-01T00:00:00.500Z"],
    ["1.5h", "2026-11-30T13:30:00.500Z"],
    ["1y", "2027-11-30T18:00:00.500Z"],
    ["1 day", "2026-12-01T12:00:00.500Z"],
    ["2027-01-31", "2027-01-31T00:00:00.000Z"],
    ["2027-01-31T12:30", "2027-01-31T12:30:00.000Z"],
    ["2027-01-31T12:30:00+02:00", "2027-01-31T10:30:00.000Z"],
    ["9999-12-31", "9999-12-31T00:00:00.000Z"],
  ])("%j is %s", (text, time) => {
    expect(parseExpiry("--expires", text, now)).toBe(time);
  });

  test.each([
    ["2026-11-30", "in the past"],
    ["2026-11-30T12:00:00Z", "in the past"],
    ["0d", "in the past"],
    ["9000y", "too far"],
    ["99999999999999y", "too far"],
    ["", "not a time"],
    ["-1d", "not a time"],
    ["30", "not a time"],
    ["30 dogs", "not a time"],
    ["2027-02-30", "not a time"],
    ["10000-01-01", "not a time"],
    ["tomorrow", "not a time"],
  ])("is none: %j, which is %s", (text, why) => {
    const refused = { code: "USAGE", message: expect.stringMatching(`^--expires .*${why}`) };
    expect(() => parseExpiry("--expires", text, now)).toThrow(expect.objectContaining(refused));
  });
});
