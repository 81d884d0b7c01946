/**
 * Holds every JSON document and line that the program prints in a test against the schemas that are shipped
 * (src/schemas/). There any field may be added later; here a field that a schema does not name is a failure, so that
 * none is printed without being part of the contract.
 */
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { commands } from "../../src/cli/commands/registry.ts";

const folder = "src/schemas";
/** A line for each validation; all test files of a run write into it. */
const counted = "node_modules/.cache/docproc-validations.txt";

mkdirSync(dirname(counted), { recursive: true });

type Schema = { readonly [key: string]: unknown };

/** Names of schemas, without their versions. */
export const schemaNames = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.replace(/\.json$/, ""));

export function readSchema(name: string): Schema {
  return JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8"));
}

const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictRequired: false, strictTypes: false });
for (const name of schemaNames) ajv.addSchema(closed(readSchema(name)) as Schema);

/** The schema without room for additions. What others add fields to stays open, and is closed where they do. */
function closed(schema: unknown, open = false): unknown {
  if (Array.isArray(schema)) return schema.map((one) => closed(one));
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => {
    if (key !== "properties" && key !== "$defs") return [key, key === "const" ? value : closed(value)];
    const members = Object.entries(value as Schema).map(([name, one]) => [name, closed(one, name === "fields")]);
    return [key, Object.fromEntries(members)];
  });
  const isObject = "properties" in schema || /#\/\$defs\/fields$/.test(String((schema as Schema)["$ref"]));
  return { ...Object.fromEntries(entries), ...(isObject && !open ? { unevaluatedProperties: false } : {}) };
}

function validatorOf(id: string, printed: string): ValidateFunction {
  const validate = ajv.getSchema(id);
  if (validate) return validate;
  const [, , , name] = id.split(":");
  throw new Error(
    `${folder}/${name}.json has to describe what is printed (an item of --ndjson: as $defs/item): ${printed}`,
  );
}

function check(value: unknown, id: string, printed: string): void {
  const validate = validatorOf(id, printed);
  if (!validate(value)) {
    throw new Error(`${printed}\nis not what ${id} in ${folder} says: ${ajv.errorsText(validate.errors)}`);
  }
  appendFileSync(counted, `${id}\n`);
}

interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws for anything that is printed as JSON and is not what its schema says */
export function assertContract(argv: readonly string[], { stdout, stderr }: Printed): void {
  const end = argv.indexOf("--");
  const flags = new Set(end < 0 ? argv : argv.slice(0, end));
  for (const line of stderr.split("\n")) {
    const value = line.startsWith('{"schema":"docproc.') ? parse(line) : undefined;
    if (value !== undefined) checkNamed(value, line);
  }
  const words = new Set<string>(argv);
  const command = commands.find(({ name, aliases = [] }) => [name, ...aliases].some((word) => words.has(word)))?.name;
  // The document itself is what they print.
  if (command === "cat" || (command === "download" && flags.has("-"))) return;
  if (flags.has("--json")) {
    const value = parse(stdout);
    if (value !== undefined) checkNamed(value, stdout);
  }
  if (!flags.has("--ndjson")) return;
  for (const line of stdout.split("\n")) {
    const value = line === "" ? undefined : parse(line);
    if (value === undefined) continue;
    if ("schema" in value) checkNamed(value, line);
    // What is exported are records, as they are listed.
    else check(value, `urn:docproc:schema:${command === "export" ? "list" : command}:1#/$defs/item`, line);
  }
}

function checkNamed(value: Schema, printed: string): void {
  const [, name = "", version] = /^docproc\.([a-z-]+)\/(\d+)$/.exec(String(value["schema"])) ?? [];
  if (name === "") throw new Error(`What is printed with --json names its schema: ${printed}`);
  check(value, `urn:docproc:schema:${name}:${version}`, printed);
}

/** Undefined for what was cut off, as tests do, or is help. */
function parse(text: string): Schema | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Before a run. */
export function forgetValidations(): void {
  rmSync(counted, { force: true });
}

/** How often each schema was held against something, after a run. */
export function validations(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(counted, { encoding: "utf8", flag: "a+" }).split("\n")) {
    const name = /^urn:docproc:schema:(\w+)/.exec(line)?.[1];
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}
