/** The one document of `--json`, written while its items come: it parses wherever the command stops. */
import { describe, expect, test } from "vitest";
import { HumanReporter } from "../../../src/cli/output/human.ts";
import { JsonReporter } from "../../../src/cli/output/json.ts";
import { painterFor } from "../../../src/cli/output/painter.ts";
import { NoProgress } from "../../../src/cli/output/progress.ts";
import type { Column, ItemDocument, OutputStream } from "../../../src/cli/output/reporter.ts";
import { DocprocError } from "../../../src/core/errors.ts";
import { capture } from "../../support/streams.ts";

const form: ItemDocument = { schema: "docproc.copy/1", items: "documents", input: "ref" };
const error = new DocprocError("UNAVAILABLE", "The service\nis gone.", { hint: "Wait." });
const refused = new DocprocError("CONFLICT", "It is taken.");
const refusal = (ref: string | number) => ({ ref, code: "CONFLICT", message: "It is taken.", hint: null });
const documents = [
  { id: "a", name: 'quo"te\n##[command]', tags: {} },
  { id: "b", tags: { build: "1" } },
];

function open(document: ItemDocument = form, stdout: OutputStream | undefined = undefined) {
  const [out, err] = [capture(), capture()];
  const streams = { stdout: stdout ?? out.stream, stderr: err.stream };
  const reporter = new JsonReporter(streams, new NoProgress(), false, document);
  return {
    reporter,
    stdout: out,
    items: async (count: number) => {
      for (const value of documents.slice(0, count)) await reporter.item({ value, id: value.id });
    },
    json: () => JSON.parse(out.text()),
    said: () => JSON.parse(err.text().trimEnd().split("\n").at(-1) ?? ""),
  };
}
const result = { envelope: { summary: { total: 2, odd: [[], {}, null] } }, text: () => "" };

describe("a document with items", () => {
  test.each([0, 1, 2])("is what it would be in one piece: %i", async (count) => {
    const { reporter, items, stdout } = open();
    await items(count);
    await reporter.result(result);
    const whole = { schema: form.schema, documents: documents.slice(0, count), failures: [], ...result.envelope };
    expect(stdout.text().replaceAll("\\u0023", "#")).toBe(`${JSON.stringify(whole, null, 2)}\n`);
  });

  test("has the failures after the items, named by the field of the command", async () => {
    const { reporter, items, json } = open({ ...form, input: "line" });
    reporter.problem("line 1", refused, { value: 1 });
    await items(2);
    reporter.problem("line 4", refused, { value: 4, only: true });
    await reporter.result(result);
    const failures = [1, 4].map((line) => ({ line, code: "CONFLICT", message: "It is taken.", hint: null }));
    expect(json()).toEqual({ schema: form.schema, documents, failures, ...result.envelope });
    expect(Object.keys(json())).toEqual(["schema", "documents", "failures", "summary"]);
  });

  test("has no failures where the command has none, and no items that are put aside", async () => {
    const { reporter, items, json } = open({ schema: "docproc.doctor/1", items: "findings" });
    await reporter.item({ value: { check: "config" }, id: null, aside: true });
    reporter.problem("x", refused);
    await items(1);
    await reporter.result(result);
    expect(json()).toEqual({ schema: "docproc.doctor/1", findings: documents.slice(0, 1), ...result.envelope });
  });

  test("is written while the items come", async () => {
    const { items, stdout } = open();
    await items(1);
    await new Promise(setImmediate);
    expect(stdout.text()).toContain('"id": "a"');
    await items(2);
    await new Promise(setImmediate);
    expect(stdout.text()).toContain('"id": "b"');
  });

  test("holds no item back", async () => {
    const { reporter, stdout } = open();
    const value = { id: "x".repeat(1000) };
    for (let count = 0; count < 1000; count += 1) await reporter.item({ value, id: null });
    expect(stdout.text().length).toBeGreaterThan(900_000);
  });
});

describe("a command that fails", () => {
  test("before its first item has its error as the document", async () => {
    const { reporter, json, said } = open();
    reporter.failure(error);
    expect(json()).toEqual(error.toJSON());
    expect(said()).toEqual(error.toJSON());
  });

  test.each([1, 2])("after %i items ends the document with the error", async (count) => {
    const { reporter, items, json, said } = open();
    await items(count);
    reporter.failure(error);
    expect(json()).toEqual({
      schema: form.schema,
      documents: documents.slice(0, count),
      failures: [],
      error: error.toJSON(),
    });
    expect(said()).toEqual(error.toJSON());
  });

  test("between failures ends the document with all of them", async () => {
    const { reporter, json } = open();
    reporter.problem("a", refused);
    reporter.problem("b", refused);
    reporter.failure(error);
    const failures = [refusal("a"), refusal("b")];
    expect(json()).toEqual({ schema: form.schema, documents: [], failures, error: error.toJSON() });
  });

  test("after its result changes nothing about the document", async () => {
    const { reporter, items, json, said } = open();
    await items(2);
    await reporter.result(result);
    reporter.failure(error);
    expect(json()).toEqual({ schema: form.schema, documents, failures: [], ...result.envelope });
    expect(said()).toEqual(error.toJSON());
  });

  test("and goes on all the same adds nothing to the document", async () => {
    const { reporter, items, stdout, json } = open();
    await items(1);
    reporter.failure(error);
    const before = stdout.text();
    await items(2);
    await reporter.result(result);
    reporter.failure(error);
    expect(stdout.text()).toBe(before);
    expect(json()).toMatchObject({ error: error.toJSON() });
  });

  test("while the result waits for the reader hands over the rest of the result", async () => {
    const out = capture();
    const stalled: OutputStream = {
      write: (chunk) => {
        out.stream.write(chunk);
        return false;
      },
      once: () => undefined,
    };
    const { reporter, json } = open(form, stalled);
    const slow = { ...out, json: () => JSON.parse(out.text()) };
    for (let count = 0; count < 2000; count += 1) reporter.problem(String(count), refused);
    void reporter.result(result);
    await new Promise(setImmediate);
    expect(slow.json).toThrow();
    reporter.failure(error);
    expect(slow.json()).toMatchObject({ schema: form.schema, documents: [], ...result.envelope });
    expect(slow.json().failures).toHaveLength(2000);
    expect(json).toThrow();
  });

  test("with a closed pipe writes nothing more", async () => {
    const written: unknown[] = [];
    const closed = { write: (chunk: unknown) => written.push(chunk) > 0, once: () => undefined, writable: false };
    const { reporter, items, said } = open(form, closed);
    await items(2);
    reporter.failure(error);
    await reporter.result(result);
    expect(written).toEqual([]);
    expect(said()).toEqual(error.toJSON());
  });
});

describe("rows for people", () => {
  const columns: readonly Column[] = [
    { heading: "NAME", narrow: "cut" },
    { heading: "SIZE", align: "right" },
  ];
  function openRows(width?: number) {
    const [out, { stream: stderr }] = [capture(width), capture()];
    const painter = painterFor(out.stream, { colors: false, now: () => 0 });
    const painters = { stdout: painter, stderr: painter };
    const reporter = new HumanReporter({ stdout: out.stream, stderr }, new NoProgress(), painters, false);
    const add = async (...cells: string[]) =>
      await reporter.item({ value: {}, id: null, many: true, row: { columns, cells: () => cells } });
    return { reporter, out, add };
  }
  const nothing = { envelope: {}, text: () => "" };

  test("are written in a pipe as they come", async () => {
    const { out, add } = openRows();
    await add("a", "1");
    await new Promise(setImmediate);
    expect(out.text()).toBe("a\t1\n");
    await add("b", "2");
    await new Promise(setImmediate);
    expect(out.text()).toBe("a\t1\nb\t2\n");
  });

  test("wait on a terminal for the widths of a thousand, and no longer", async () => {
    const { reporter, out, add } = openRows(40);
    await add("a", "1");
    await add("a longer name", "22");
    for (let count = 2; count < 999; count += 1) await add("b", "2");
    await new Promise(setImmediate);
    expect(out.text()).toBe("");
    await add("c", "3");
    await add("a name that is longer than all before", "12345");
    await new Promise(setImmediate);
    const lines = out.text().trimEnd().split("\n");
    expect(lines).toHaveLength(1002);
    expect(lines.slice(0, 3)).toEqual(["NAME           SIZE", "a                 1", "a longer name    22"]);
    expect(lines.at(-1)).toBe("a name that …  12345");
    await reporter.result(nothing);
    expect(out.text().trimEnd().split("\n")).toHaveLength(1002);
  });

  test.each(["result", "failure"] as const)("are all printed at the end: %s", async (end) => {
    const { reporter, out, add } = openRows(40);
    await add("a", "1");
    if (end === "result") await reporter.result(nothing);
    else reporter.failure(error);
    expect(out.text()).toBe("NAME  SIZE\na        1\n");
  });

  test("are none of an empty list", async () => {
    const { reporter, out } = openRows(40);
    await reporter.result(nothing);
    expect(out.text()).toBe("");
  });
});
