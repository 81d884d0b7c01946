/** The examples of the help. */
import { expect, test } from "vitest";
import { commands } from "../../../src/cli/commands/registry.ts";

test("hand on a whole listing, and not its first page", async () => {
  const loaded = await Promise.all(commands.map(({ load }) => load()));
  const listings = loaded
    .flatMap(({ examples }) => examples.map(([, args]) => args))
    .flatMap((args) => args.match(/\$\(docproc list .*?\)/g) ?? []);
  expect(listings.length).toBeGreaterThan(1);
  expect(listings.filter((listing) => !/ --(all|limit) /.test(listing))).toEqual([]);
});
