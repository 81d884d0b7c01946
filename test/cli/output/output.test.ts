import stringWidth from "string-width";
import { describe, expect, test } from "vitest";
import { display } from "../../../src/cli/output/display.ts";
import { LineReporter } from "../../../src/cli/output/human.ts";
import { JsonReporter, NdjsonReporter } from "../../../src/cli/output/json.ts";
import { painterFor } from "../../../src/cli/output/painter.ts";
import { NoProgress } from "../../../src/cli/output/progress.ts";
import { BatchedLines, type Column, type OutputStream } from "../../../src/cli/output/reporter.ts";
import { DocprocError } from "../../../src/core/errors.ts";
import { capture } from "../../support/streams.ts";

const painter = (columns?: number, now = 0) => painterFor(capture(columns).stream, { colors: false, now: () => now });

describe("text from a catalog", () => {
  test.each([
    ["\u001b[31mred\u001b[0m", "\\e[31mred\\e[0m"],
    ["a\rb\nc\td\0", "a\\rb\\nc\\td\\0"],
    ["invoice\u202egpj.exe", "invoice\\u{202e}gpj.exe"],
    ["\u2066a\u2069", "\\u{2066}a\\u{2069}"],
    ["pay\u200bpal", "pay\\u{200b}pal"],
    ["a\u200db", "a\\u{200d}b"],
    ["\u009b31m\u0085\u007f", "\\u{9b}31m\\u{85}\\u{7f}"],
    ["\ufeffa\u00adb", "\\u{feff}a\\u{ad}b"],
    ["a\ud800b\udc00", "a\\u{d800}b\\u{dc00}"],
    ["a\u3164b\u034fc\u115f", "a\\u{3164}b\\u{34f}c\\u{115f}"],
    ["a\u2028b\u2029", "a\\u{2028}b\\u{2029}"],
    ["x\u{e0041}", "x\\u{e0041}"],
  ])("%j is shown as %s", (text, shown) => {
    expect(display(text)).toBe(shown);
  });

  test.each([
    ["plain ASCII", "Report-1 (final).pdf"],
    ["accents, combining or not", "résumé re\u0301sume\u0301"],
    ["other scripts", "日本語 한국어 עברית العربية"],
    ["a family", "👨‍👩‍👧‍👦"],
    ["a flag with a variation selector", "🏳️‍🌈 ❤️‍🔥"],
    ["an astronaut with a skin tone", "👩🏽‍🚀 🧑🏿‍🤝‍🧑🏻 ⛹🏻‍♀️"],
    ["a country", "🇩🇪 1️⃣"],
  ])("%s stays as it is", (_what, text) => {
    expect(display(text)).toBe(text);
  });

  test("no control, direction or line character and no lone surrogate of the first plane survives", () => {
    const survivors: string[] = [];
    for (let unit = 0; unit <= 0xffff; unit += 1) {
      const shown = display(`a${String.fromCharCode(unit)}b`);
      if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u.test(shown)) survivors.push(unit.toString(16));
    }
    expect(survivors).toEqual([]);
  });
});

// As `docproc list` has them.
const id = "0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee42";
const columns: readonly Column[] = [
  { heading: "ID" },
  { heading: "NAME", narrow: "cut" },
  { heading: "SIZE", align: "right" },
  { heading: "TYPE", narrow: "drop" },
  { heading: "TAGS", narrow: "drop" },
];
const row = (name: string) => [id, name, "1.2 MB", "application/pdf", "build=42"];
const names = ["a.pdf", "x".repeat(150), "日本語".repeat(40), "👨‍👩‍👧‍👦".repeat(60), "e\u0301".repeat(150)];

describe("a table on a terminal", () => {
  test.each([60, 80, 120])("fits %i columns, and its lines hold whole ids and whole characters", (width) => {
    const lines = painter(width).table(columns, names.map(row)).split("\n");
    expect(lines).toHaveLength(names.length + 1);
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(width);
    for (const line of lines.slice(1)) {
      expect(line.startsWith(`${id}  `)).toBe(true);
      expect(line.isWellFormed()).toBe(true);
    }
  });

  test("fits 40 columns where what may not be cut leaves room", () => {
    const narrow = columns.slice(1);
    const lines = painter(40)
      .table(
        narrow,
        names.map((name) => row(name).slice(1)),
      )
      .split("\n");
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(40);
  });

  test("never cuts an id, even where the terminal is narrower", () => {
    expect(painter(20).table(columns, [row("a.pdf")])).toContain(id);
  });

  test.each(names)("two cells never touch: name %#", (name) => {
    for (const width of [60, 80, 120, 400]) {
      const [heading = "", line = ""] = painter(width)
        .table(columns, [row(name)])
        .split("\n");
      expect(line).toMatch(/ {2}1\.2 MB( {2}|$)/);
      expect(heading.split(/ {2,}/).filter((word) => word !== "")).toEqual(
        expect.arrayContaining(["ID", "NAME", "SIZE"]),
      );
    }
  });

  test.each([
    [120, ["ID", "NAME", "SIZE", "TYPE", "TAGS"]],
    [75, ["ID", "NAME", "SIZE", "TYPE"]],
    [60, ["ID", "NAME", "SIZE"]],
  ])("at %i columns it shows %j: what is droppable goes from the last to the first", (width, headings) => {
    const [heading = ""] = painter(width)
      .table(columns, [row("a.pdf")])
      .split("\n");
    expect(heading.trim().split(/\s+/)).toEqual(headings);
  });

  test("a name is cut only where it does not fit, and shows that it was", () => {
    expect(painter(400).table(columns, [row("x".repeat(150))])).toContain("x".repeat(150));
    expect(painter(60).table(columns, [row("x".repeat(150))])).toMatch(/x…/);
  });

  test("a terminal that does not know its width has 80 columns", () => {
    const lines = painter(0).table(columns, names.map(row)).split("\n");
    expect(Math.max(...lines.map((line) => stringWidth(line)))).toBeLessThanOrEqual(80);
  });
});

describe("values", () => {
  test("in a pipe a table is tab-separated, whole and without heading", () => {
    const long = row("x".repeat(300));
    expect(painter().table(columns, [row("a.pdf"), long])).toBe(`${row("a.pdf").join("\t")}\n${long.join("\t")}`);
  });

  test("a tab or line end in a name adds no cell and no line to a pipe", () => {
    const pipe = painter();
    expect(pipe.table(columns, [[id, pipe.text("a\tb\nc")]])).toBe(`${id}\ta\\tb\\nc`);
  });

  test("sizes are exact in a pipe and short on a terminal", () => {
    expect([0, 1_234_567, null].map((size) => painter().size(size))).toEqual(["0", "1234567", "-"]);
    expect([0, 999, 1_234_567, 5e9, null].map((size) => painter(80).size(size))).toEqual([
      "0 B",
      "999 B",
      "1.23 MB",
      "5 GB",
      "-",
    ]);
  });

  const uploaded = "2025-06-15T12:00:00.000Z";
  test.each([
    [0, "just now"],
    [-3_600_000, "just now"],
    [5_000, "5 seconds ago"],
    [60_000, "1 minute ago"],
    [7_200_000, "2 hours ago"],
    [86_400_000 * 3, "3 days ago"],
  ])("%i milliseconds later a terminal says %j, a pipe always the time itself", (age, words) => {
    const now = Date.parse(uploaded) + age;
    expect(painter(80, now).time(uploaded)).toBe(words);
    expect(painter(undefined, now).time(uploaded)).toBe(uploaded);
    expect(painter(80, now).time(null)).toBe("-");
  });

  test("colours are for terminals that have them, and not with --no-color", () => {
    const stream = { ...capture(80).stream, getColorDepth: () => 4 };
    const paint = (colors: boolean) => painterFor(stream, { colors, now: () => 0 }).bad("no");
    expect(paint(true)).toBe("\u001b[31mno\u001b[39m");
    expect(paint(false)).toBe("no");
    expect(painter().bad("no")).toBe("no");
  });
});

describe("output for programs", () => {
  const error = new DocprocError("NOT_FOUND", "No such\u2028thing.");
  const result = { envelope: { answer: 42 }, text: () => "" };
  function reporterOf(kind: typeof JsonReporter | typeof NdjsonReporter, verbose = false) {
    const [stdout, stderr] = [capture(), capture()];
    return {
      stdout,
      stderr,
      reporter: new kind({ stdout: stdout.stream, stderr: stderr.stream }, new NoProgress(), verbose),
    };
  }
  const lastLine = (text: string) => JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");

  test("without a result the error is the document", () => {
    const { reporter, stdout, stderr } = reporterOf(JsonReporter);
    reporter.failure(error);
    expect(JSON.parse(stdout.text())).toEqual(error.toJSON());
    expect(lastLine(stderr.text())).toEqual(error.toJSON());
  });

  test("with a result the result stays the only document, and the error is on stderr", async () => {
    const { reporter, stdout, stderr } = reporterOf(JsonReporter);
    reporter.note("nothing on stdout");
    await reporter.item({ value: { not: "printed" }, id: null });
    await reporter.result(result);
    reporter.failure(error);
    expect(JSON.parse(stdout.text())).toEqual({ answer: 42 });
    expect(lastLine(stderr.text())).toEqual(error.toJSON());
  });

  test("the error is the last line of stderr with -v too, and every line is JSON", () => {
    for (const kind of [JsonReporter, NdjsonReporter]) {
      const { reporter, stderr } = reporterOf(kind, true);
      reporter.debug("detail");
      reporter.failure(error);
      const lines = stderr
        .text()
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(lines[0]).toEqual({ debug: "detail" });
      expect(lines.at(-1)).toEqual(error.toJSON());
    }
  });

  test("NDJSON is one line a record, whatever reader of lines there is", async () => {
    const { reporter, stdout } = reporterOf(NdjsonReporter);
    await reporter.item({ value: { name: "a\u2028b\u2029c\nd" }, id });
    await reporter.item({ value: { name: "second" }, id });
    await reporter.result(result);
    expect(stdout.text()).toBe('{"name":"a\\u2028b\\u2029c\\nd"}\n{"name":"second"}\n');
  });

  test.each(["NDJSON", "ids"])("many records are written together, and none waits for long: %s", async (form) => {
    const [stdout, stderr] = [capture(), capture()];
    const streams = { stdout: stdout.stream, stderr: stderr.stream };
    const reporter =
      form === "NDJSON"
        ? new NdjsonReporter(streams, new NoProgress(), false)
        : new LineReporter(
            ({ id }) => id ?? undefined,
            "\n",
            streams,
            new NoProgress(),
            { stdout: painter(), stderr: painter() },
            false,
          );
    const add = (name: string) => reporter.item({ value: { name }, id: name, many: true });
    for (const name of ["a", "b", "c"]) expect(add(name)).toBeUndefined();
    expect(stdout.written).toEqual([]);
    await new Promise(setImmediate);
    expect(stdout.written).toHaveLength(1);
    for (let count = 0; count < 65; count++) await add("x".repeat(1024));
    expect(stdout.written).toHaveLength(2);
    add("the last");
    reporter.failure(error);
    expect(stdout.text()).toContain("the last");
    add("one more");
    await reporter.result(result);
    expect(stdout.text().split("\n")).toHaveLength(3 + 65 + 2 + 1);
  });

  test("who adds lines waits while the reader does not read, however few they are", async () => {
    let drained = () => {};
    const stdout: OutputStream = {
      write: () => false,
      once(event, listener) {
        if (event === "drain") drained = listener;
      },
    };
    const lines = new BatchedLines(stdout);
    expect(lines.add("a")).toBeUndefined();
    await new Promise(setImmediate);
    const waiting = lines.add("b");
    expect(waiting).toBeInstanceOf(Promise);
    drained();
    await waiting;
    expect(lines.add("c")).toBeUndefined();
  });

  test("NDJSON reports a failed input on stderr with its path, and prints no error on stdout", () => {
    const { reporter, stdout, stderr } = reporterOf(NdjsonReporter);
    reporter.problem("./a", error);
    reporter.failure(error);
    expect(stdout.text()).toBe("");
    expect(stderr.text()).not.toContain("\u2028");
    expect(JSON.parse(stderr.written[0] ?? "")).toEqual({ ...error.toJSON(), path: "./a" });
  });
});
