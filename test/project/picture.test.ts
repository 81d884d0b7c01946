/** The picture in README.md is what the program prints. `npm run picture` draws it anew. */
import { readFile, writeFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { contentOf, drawTerminal } from "../support/docs/picture.ts";
import { startMachine } from "../support/docs/shell.ts";
import { findOnPath } from "../support/on-path.ts";

const path = "docs/terminal.svg";
const picture = {
  title: "docproc in a terminal",
  description:
    "docproc uploads three build artifacts with a tag, finds that a second run has nothing to send, lists what there " +
    "is with paths, sizes, ages and tags, checks that all of it is intact, gets the folder back, and says what to do " +
    "about a file that does not exist.",
  commands: [
    "docproc upload -r dist --tag build=42",
    "docproc upload -r dist --tag build=42",
    "docproc list",
    "docproc verify --all",
    "docproc download --tag build=42 -o copies",
    "docproc upload ./typo.pdf",
  ],
};

const hasScript = findOnPath("script") !== undefined && process.platform === "linux";

test.skipIf(!hasScript && !process.env["DOCPROC_TEST_NO_SKIP"])(`${path} shows what is printed`, async () => {
  const machine = await startMachine();
  onTestFinished(() => machine.close());
  const drawn = await drawTerminal(picture, machine);
  const kept = await readFile(path, "utf8").catch(() => "");
  const isOld = contentOf(kept).join() !== contentOf(drawn).join();
  if (process.env["DOCPROC_PICTURE"] && isOld) await writeFile(path, drawn);
  expect(contentOf(process.env["DOCPROC_PICTURE"] ? drawn : kept)).toEqual(contentOf(drawn));
});

test("the picture has an alternative text, and colours for both schemes", async () => {
  const text = await readFile(path, "utf8");
  expect(text).toMatch(/role="img" aria-labelledby="title desc"/);
  expect(text).toContain(`<title id="title">${picture.title}</title>`);
  expect(text).toContain("prefers-color-scheme: dark");
});
