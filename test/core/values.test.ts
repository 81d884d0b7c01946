import { expect, test } from "vitest";
import { alternatives, oneOf } from "../../src/core/values.ts";

test.each([
  [["local"], "local"],
  [["local", "s3"], "local or s3"],
  [["local", "s3", "memory"], "local, s3 or memory"],
])("%j is said as %s", (names, said) => {
  expect(alternatives(names)).toBe(said);
  expect(() => oneOf(names)("gcs")).toThrow(`it must be ${said}`);
});
