/** The JSON Schemas that are shipped, and what holds output against them. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { commands } from "../../src/cli/commands/registry.ts";
import { exitStatuses } from "../../src/core/errors.ts";
import { schemas } from "../../src/schemas/index.ts";
import { assertContract, readSchema, schemaNames } from "../support/contract.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

/** Commands that print no JSON document, and why. */
const others = ["cat", "completion"];

const error = { code: "USAGE", message: "No.", hint: null, retryable: false, requestId: null };
const printed = (value: object) => ({ stdout: JSON.stringify(value), stderr: "" });

describe("the schemas", () => {
  test("are one for each command, each known to help, and none besides", () => {
    expect(schemas.map(({ $id }) => $id.split(":")[3]).sort()).toEqual(schemaNames);
    const named = commands.map(({ name }) => (name === "show" ? "record" : name));
    expect([...named.filter((name) => !others.includes(name)), "error"].sort()).toEqual(schemaNames);
  });

  test("name what they describe", () => {
    for (const name of schemaNames) {
      const { $id, $schema, title, description } = readSchema(name);
      expect({ $id, $schema, title }).toEqual({
        $id: `urn:docproc:schema:${name}:1`,
        $schema: "https://json-schema.org/draft/2020-12/schema",
        title: `docproc.${name}/1`,
      });
      expect(description).toEqual(expect.any(String));
    }
  });

  test("list every code of an error", () => {
    const { properties } = readSchema("error") as { properties: { code: { enum: string[] } } };
    expect(properties.code.enum).toEqual(Object.keys(exitStatuses));
  });

  test("let fields be added, as they are shipped", async () => {
    const ajv = new Ajv2020({ allowUnionTypes: true, strictTypes: false });
    for (const name of schemaNames) ajv.addSchema(readSchema(name));
    const sandbox = await makeSandbox();
    const listed = (await runDocproc(sandbox, ["list", "--json"])).json();
    const validate = ajv.getSchema("urn:docproc:schema:list:1");
    expect(validate?.(listed)).toBe(true);
    expect(validate?.({ ...listed, later: 1 })).toBe(true);
    expect(validate?.({ ...listed, count: -1 })).toBe(false);
  });

  test("are in the package, where programs find them", () => {
    const resolve = `console.log(require.resolve("docproc-cli/schemas/record.json"))`;
    const path = execFileSync(process.execPath, ["-e", resolve], { encoding: "utf8" }).trim();
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(readSchema("record"));
  });
});

describe("output is held against them", () => {
  const named = { schema: "docproc.error/1", ...error };

  test("and what fits is accepted", () => {
    expect(() => assertContract(["list", "--json"], printed(named))).not.toThrow();
    expect(() => assertContract(["list"], { stdout: "", stderr: `${JSON.stringify(named)}\n` })).not.toThrow();
  });

  test.each<[string, string[], object, RegExp]>([
    ["a field that none names", ["list", "--json"], { ...named, extra: 1 }, /unevaluated/],
    ["a field that is left out", ["list", "--json"], { schema: named.schema, code: "USAGE" }, /must have required/],
    ["a code that there is not", ["list", "--json"], { ...named, code: "OOPS" }, /allowed values/],
    [
      "a schema that there is not",
      ["list", "--json"],
      { ...named, schema: "docproc.news/1" },
      /src\/schemas\/news\.json/,
    ],
    ["no schema", ["list", "--json"], error, /names its schema/],
    ["an item that is none", ["list", "--ndjson"], { id: 1 }, /list:1#\/\$defs\/item/],
  ])("and %s is found", (_what, argv, value, message) => {
    expect(() => assertContract(argv, printed(value))).toThrow(message);
  });

  test("and so is an error on stderr", () => {
    const stderr = `progress\n${JSON.stringify({ ...named, extra: 1 })}\n`;
    expect(() => assertContract(["list"], { stdout: "", stderr })).toThrow(/unevaluated/);
  });
});

describe("docproc help", () => {
  test("exit-codes has every status, what it means and what to do", async () => {
    const { status, stdout } = await runDocproc(await makeSandbox(), ["help", "exit-codes"]);
    expect(status).toBe(0);
    for (const [code, number] of Object.entries(exitStatuses)) {
      expect(stdout).toMatch(new RegExp(`^${number} +${code} +[A-Z].+\\.\n +[A-Z].+\\.$`, "m"));
    }
    expect(stdout).toMatch(/^0 +Done/m);
  });

  test("json has every document with every field", async () => {
    const { status, stdout } = await runDocproc(await makeSandbox(), ["help", "json"]);
    expect(status).toBe(0);
    for (const name of schemaNames) {
      const part = stdout.split("\n\n").find((text) => text.startsWith(`docproc.${name}/1: `)) ?? "";
      const { properties = {} } = readSchema(name) as { properties?: object };
      for (const field of Object.keys(properties)) expect(part).toMatch(new RegExp(`^  ${field} `, "m"));
    }
    expect(stdout).toMatch(/^ {6}commit +string or null\. Full hash$/m);
    expect(stdout).toMatch(/^ {2}documents +list\n {4}the fields of docproc\.record\/1$/m);
  });

  test("says that there are such topics, and which commands there are for another one", async () => {
    const sandbox = await makeSandbox();
    expect((await runDocproc(sandbox, ["--help"])).stdout).toContain("docproc help exit-codes, docproc help json");
    expect((await runDocproc(sandbox, ["help", "nothing"])).status).toBe(2);
    expect((await runDocproc(sandbox, ["help", "list"])).stdout).toContain("docproc list");
  });
});
