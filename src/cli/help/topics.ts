/** `docproc help exit-codes` and `docproc help json`: the contract with scripts, from the tables that tests check. */
import { type ErrorCode, exitStatuses } from "../../core/errors.ts";
import { type Schema, schemas } from "../../schemas/index.ts";
import { meanings, nextSteps } from "./error-codes.ts";

/** @returns undefined for an unknown topic */
export function helpTopic(name: string): string | undefined {
  return name === "exit-codes" ? exitCodes() : name === "json" ? jsonContract() : undefined;
}

function exitCodes(): string {
  const codes = Object.entries(exitStatuses).map(([code, status]) => {
    const shown = code === "CANCELLED" ? "130" : String(status);
    return `${shown.padEnd(4)} ${code.padEnd(16)} ${meanings[code as ErrorCode]}\n     ${"".padEnd(16)} ${nextSteps[code as ErrorCode]}`;
  });
  return [
    "Exit statuses. New ones may be added; existing ones keep their meaning. Treat an unknown one as a failure.",
    "",
    `0    ${"".padEnd(16)} Done, including an empty list and documents that were already stored.`,
    ...codes,
  ].join("\n");
}

function jsonContract(): string {
  return [
    "With --json a command prints one JSON document, whether it succeeds or fails: the result or the error. With --ndjson",
    "it prints one line per item, without the enclosing document. Fields are never left out; unknown values are null.",
    "A command that stops in the middle ends its document with the error, and without the fields after its lists.",
    "New fields may be added; existing ones keep their name and meaning. As JSON Schema: docproc-cli/schemas/*.json",
    ...schemas.map(({ title, description, ...schema }) => {
      return [``, `${title}: ${description}`, ...fieldsOf(schema, schema, "  ")].join("\n");
    }),
  ].join("\n");
}

/** A line for each field, followed by its inner fields. */
function fieldsOf(schema: Schema, root: Schema, indent: string): string[] {
  // Another document is described once; elsewhere its name suffices.
  const own = schema.$ref?.startsWith("#/") ? fieldsOf(pointed(root, schema.$ref), root, indent) : [];
  const [, other] = /^urn:docproc:schema:([a-z]+):1/.exec(schema.$ref ?? "") ?? [];
  const named = other === undefined ? [] : [`${indent}the fields of docproc.${other}/1`];
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    `${indent}${name.padEnd(Math.max(1, 22 - indent.length))} ${[kindOf(field), field.description].filter(Boolean).join(". ")}`.trimEnd(),
    ...fieldsOf(within(field), root, `${indent}  `),
  ]);
  return [...own, ...named, ...fields];
}

function pointed(root: Schema, reference: string): Schema {
  return root.$defs?.[reference.slice("#/$defs/".length)] ?? {};
}

/** The schema inside a list or a nullable field. */
function within(field: Schema): Schema {
  const inner = field.items ?? field.anyOf?.[0];
  return inner === undefined ? field : within(inner);
}

function kindOf(field: Schema): string {
  if (field.const !== undefined) return JSON.stringify(field.const);
  if (field.enum) return field.enum.map(String).join(", ");
  if (field.anyOf) return `${kindOf(field.anyOf[0] ?? {})} or null`;
  if (field.items) return "list";
  return [field.type ?? "object"].flat().join(" or ");
}
