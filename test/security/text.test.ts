/** Text of users that means something to a language it passes through: JSON lines, JavaScript objects, SQL, expressions. */
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openEmptyLibrary, places, usePlace } from "../support/library.ts";
import { docproc, preload } from "../support/process.ts";
import { runDocproc } from "../support/run.ts";

/** What some reader of lines takes for the end of one: Python's splitlines() knows all of these. */
const lineEnds = ["\n", "\r", "\r\n", "\v", "\f", "\u001c", "\u001d", "\u001e", "\u0085", "\u2028", "\u2029"];
const anyLineEnd = new RegExp(`\r\n|[${lineEnds.join("")}]`);

/** Text that would end a string, begin a comment, or be a variable in one of the languages. */
const quotes = [
  ...["'", "''", '"', '""', "`", "\\", "\\'", "%", "_", "a%' --", "' OR 1=1 --", "') OR ('a'='a", "'; SELECT 1"],
  ...["x'); DROP TABLE documents; --", '"; DELETE FROM documents; --', "/* */", "?", "?1", ":pk", "@x", "$x", "#n"],
  ...[
    "attribute_not_exists(pk)",
    "pk = :pk",
    "doc#0",
    "name#a",
    "catalog",
    "{{x}}",
    "$" + "{1+1}",
    "%s",
    "&lt;",
    "\u0001",
  ],
];
const prototypeKeys = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "valueOf",
  "hasOwnProperty",
  "__defineGetter__",
];

for (const [place, start] of Object.entries(places)) {
  describe(`on ${place}`, () => {
    const endpoint = usePlace(start);

    test("a record is one line, whatever line ends are in it, and reads back as it was", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      const text = (index: number) => `x${lineEnds[index]}{"schema":"forged"}${lineEnds.join("")}`;
      // A name has none that is a control character.
      const nameOf = (index: number) => text(index).replaceAll(/\p{Cc}/gu, "-");
      for (const index of lineEnds.keys()) {
        const described = ["--tag", `k${text(index)}=${text(index)}`, "--meta", `k${text(index)}=${text(index)}`];
        const argv = ["upload", "a.txt", "--name", nameOf(index), ...described, "--ndjson"];
        expect((await run(argv)).stdout.trimEnd().split(anyLineEnd)).toHaveLength(1);
      }
      const listed = await run(["list", "--all", "--asc", "--ndjson"]);
      expect(listed.stdout.endsWith("\n")).toBe(true);
      const records = listed.stdout
        .trimEnd()
        .split(anyLineEnd)
        .map((line) => JSON.parse(line));
      expect(records.map(({ name }) => name)).toEqual(lineEnds.map((_, index) => nameOf(index)));
      for (const [index, { tags, metadata }] of records.entries()) {
        const described = { [`k${text(index)}`]: text(index) };
        expect({ tags, metadata }).toEqual({ tags: described, metadata: described });
      }
      const failed = await run(["verify", ...lineEnds.map((_, index) => `missing ${text(index)}`), "--ndjson"]);
      const failures = failed.stderr
        .trimEnd()
        .split(anyLineEnd)
        .map((line) => JSON.parse(line));
      expect(failures).toHaveLength(lineEnds.length + 1);
      for (const { schema } of failures) expect(schema).toBe("docproc.error/1");
    });

    test("a key of an object's own family is a key like any other, with nothing to inherit it from", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      // Where a program writes to it, this one ends with an error.
      const node = preload("Object.freeze(Object.prototype);");
      const flags = endpoint() === undefined ? ["--directory", sandbox.data] : [];
      const frozen = async (...argv: string[]) => {
        const outcome = await docproc(sandbox, [...argv, "--json", ...flags], { node });
        expect(outcome).toMatchObject({ status: 0, stderr: "" });
        return JSON.parse(outcome.stdout);
      };
      const described = prototypeKeys.flatMap((key) => [
        "--tag",
        `${key}=tag of ${key}`,
        "--meta",
        `${key}=meta of ${key}`,
      ]);
      await frozen("upload", "a.txt", ...described);
      const wanted = (what: string) => prototypeKeys.map((key) => [key, `${what} of ${key}`]).sort();
      const { tags, metadata } = await frozen("show", "a.txt");
      expect(Object.entries(tags).sort()).toEqual(wanted("tag"));
      expect(Object.entries(metadata).sort()).toEqual(wanted("meta"));
      const byTag = (key: string, value: string) => run(["list", "-q", "--tag", `${key}=${value}`]);
      for (const key of prototypeKeys) {
        expect((await byTag(key, `tag of ${key}`)).stdout).not.toBe("");
        expect((await byTag(key, "[object Object]")).stdout).toBe("");
      }
      const { documents } = await frozen("upload", "a.txt", ...described);
      expect(documents).toMatchObject([{ action: "unchanged" }]);
      // Every object has such keys, but a document without tags has none.
      await frozen("upload", "a.txt", "--name", "bare.txt");
      for (const key of prototypeKeys) {
        expect((await run(["list", "-q", "--path", "bare.txt", "--tag", key])).stdout).toBe("");
        expect((await run(["list", "-q", "--path", "bare.txt", "--not-tag", key])).stdout).not.toBe("");
        expect((await run(["list", "-q", "--path", "a.txt", "--tag", key])).stdout).not.toBe("");
      }
      await frozen("verify", "--all");
      await frozen("delete", "a.txt", "--yes");
    });

    test("a quote is a character", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      const bare = (...argv: string[]) => runDocproc(sandbox, [...argv]);
      const names = quotes.filter((quote) => !/[/\p{Cc}]/u.test(quote));
      // The first = ends a key.
      const keyOf = (name: string) => `k${name.replaceAll("=", "")}`;
      for (const name of names) {
        const argv = [
          "upload",
          "a.txt",
          `--name=${name}`,
          "--tag",
          `${keyOf(name)}=${name}`,
          "--meta",
          `${keyOf(name)}=${name}`,
        ];
        expect(await run(argv)).toMatchObject({ status: 0 });
      }
      for (const name of names) {
        const { documents } = (await run(["list", "--tag", `${keyOf(name)}=${name}`, "--json"])).json();
        expect(documents).toMatchObject([{ name, tags: { [keyOf(name)]: name }, metadata: { [keyOf(name)]: name } }]);
        expect((await bare("show", "--json", "--", name)).json().id).toBe(documents[0].id);
      }
      // None of them is a part of another's name, nor the beginning of an id, nor an expression that is true.
      for (const quote of quotes) {
        for (const reference of [`${quote}${quote}x`, `0198${quote}`]) {
          expect((await bare("show", "--", reference)).status).toBe(3);
        }
        expect((await run(["list", `--cursor=${quote}`])).status).toBe(2);
        const glob = `${quote.replace(/[\\*?[\]{}()|]/g, "\\$&")}no`;
        expect((await run(["list", "-q", `--name=${glob}`, "--all"])).stdout).toBe("");
      }
      expect((await run(["list", "--all", "--json"])).json().count).toBe(names.length);
      for (const name of names) expect(await bare("delete", "--yes", "--", name)).toMatchObject({ status: 0 });
      expect((await run(["list", "--all", "--json"])).json().count).toBe(0);
    }, 120_000);
  });
}

test.each([".docprocrc.json", ".docprocrc.yaml"])("%s cannot give a setting to every object there is", async (file) => {
  const { sandbox, run } = await openEmptyLibrary();
  for (const key of ["__proto__", "constructor", "toString"]) {
    await writeFile(join(sandbox.cwd, file), JSON.stringify({ [key]: { bucket: "planted" } }));
    expect(await run(["list"])).toMatchObject({ status: 2, stderr: expect.stringContaining(key) });
  }
  await writeFile(join(sandbox.cwd, file), '{"__proto__": {"bucket": "planted"}}');
  expect(await run(["list"])).toMatchObject({ status: 2 });
  expect(Reflect.get({}, "bucket")).toBeUndefined();
});

describe("in the sources", () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const sources = files.map((name) => ({ name, code: readFileSync(join("src", name), "utf8") }));
  /** Constants of a file: numbers, and statements that are written out. */
  const constants = [
    ...[
      "applicationId",
      "migrations.length",
      "format",
      "schema",
      "batchSize",
      "storedColumns",
      "storedMarks",
      "beyondAscii",
      "composedTags",
      "composedMetadata",
      "series",
      "nameAsPath",
    ],
    // A name cannot be bound; this is how it is quoted.
    `table.replaceAll('"', '""')`,
  ];
  /** Their statements are put together, of their own texts; that nothing else gets into them is what their tests ask. */
  const composing = ["conditions.ts", "listing.ts", "sorting.ts"].map((name) => `metadata/local/${name}`);

  test("no SQL is put together from values", () => {
    const isSql = /\b(SELECT|INSERT|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|DROP TABLE|PRAGMA|BEGIN|VALUES)\b/;
    const templates = sources.flatMap(({ name, code }) =>
      [...code.matchAll(/`(?:[^`\\]|\\.)*`/g)].map(([template]) => ({ name, template })),
    );
    const sql = templates.filter(({ template }) => isSql.test(template));
    expect(sql.length).toBeGreaterThan(5);
    const written = sql.filter(({ name }) => !composing.includes(name));
    const parts = written.flatMap(({ name, template }) =>
      [...template.matchAll(/\$\{([^}]*)\}/g)].map(([, part = ""]) => ({ name, part })),
    );
    expect(parts.filter(({ part }) => !constants.includes(part))).toEqual([]);
    for (const constant of constants.filter((one) => /^\w+$/.test(one))) {
      expect(
        sources.some(({ code }) => new RegExp(`^(export )?const ${constant} =\\s+(0x|\\d|[\`"])`, "m").test(code)),
      ).toBe(true);
    }
    // Nor by adding one text to another.
    const added = sources.filter(({ code }) => /["'`]\s*\+\s*\w|\.concat\(/.test(code) && isSql.test(code));
    expect(added.map(({ name }) => name)).toEqual([]);
  });

  test("no expression of DynamoDB is put together from values", () => {
    const driver = sources.filter(({ name }) => name.startsWith(join("metadata", "dynamodb")));
    const expressions = driver.flatMap(({ name, code }) =>
      [...code.matchAll(/\b\w+Expression: ("[^"]*"|[^,}\n]+)/g)].map(([, value = ""]) => ({ name, value })),
    );
    expect(expressions.length).toBeGreaterThan(10);
    const composed = expressions.filter(({ value }) => !/^"[^"]*"$/.test(value.trim()));
    const composing = join("metadata", "dynamodb", "updates.ts");
    expect(new Set(composed.map(({ name }) => name))).toEqual(new Set([composing]));

    // An update is put together of the names of the fields that it changes, which are written out.
    const code = driver.find(({ name }) => name === composing)?.code ?? "";
    expect(code).toMatch(/^const fields = \[("\w+", )*"\w+"\] as const;$/m);
    const parts = [...code.matchAll(/\$\{([^}]*)\}/g)].map(([, part = ""]) => part);
    expect(new Set(parts)).toEqual(new Set(["field", 'sets.join(", ")', 'removed.join(", ")']));
    const lists = [...code.matchAll(/for \(const field of (\w+)|\b(\w+)\.(?:flatMap|map|filter)\(\(field\)/g)];
    expect(new Set(lists.map(([, loop, list]) => loop ?? list))).toEqual(new Set(["fields", "changed"]));
  });
});
