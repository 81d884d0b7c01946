/** The deliberate bugs of test/mutations/list.mjs still fit: `npm run test:mutations` tries them. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mutations } from "./list.mjs";

test.each(mutations.map((mutation) => [mutation[0], mutation] as const))("%s", (_title, mutation) => {
  const [, file, from, to, tests] = mutation;
  expect(readFileSync(file, "utf8").split(from).length - 1, `places in ${file}`).toBe(1);
  expect(to).not.toBe(from);
  expect(tests.filter((path) => !existsSync(path))).toEqual([]);
});
