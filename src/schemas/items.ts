/** The fields of each command's items, from its schema. */
import { type Schema, schemas } from "./index.ts";

/**
 * Fields of the items that a command prints with `--ndjson`, or of its single document if it has no items.
 * @returns undefined for a command without a report
 */
export function itemFields(command: string): string[] | undefined {
  const schema = schemaOf(command === "show" ? "record" : command);
  if (schema === undefined) return undefined;
  const { schema: _, ...fields } = fieldsOf(schema.$defs?.["item"] ?? schema, schema);
  return Object.keys(fields);
}

function schemaOf(name: string): Schema | undefined {
  return schemas.find(({ title }) => title === `docproc.${name}/1`);
}

function fieldsOf({ $ref, anyOf = [], properties = {} }: Schema, root: Schema): Record<string, unknown> {
  const [place = "", pointer = ""] = $ref?.split("#/$defs/") ?? [];
  const holder = place === "" ? root : (schemaOf(place.split(":")[3] ?? "") ?? {});
  const referred = pointer === "" ? {} : fieldsOf(holder.$defs?.[pointer] ?? {}, holder);
  return Object.assign({}, referred, ...anyOf.map((one) => fieldsOf(one, root)), properties);
}
