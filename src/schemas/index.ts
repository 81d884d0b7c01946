/** Every JSON document that the program prints, in the order of the help text. */
import config from "./config.json" with { type: "json" };
import copy from "./copy.json" with { type: "json" };
import deleted from "./delete.json" with { type: "json" };
import destroy from "./destroy.json" with { type: "json" };
import doctor from "./doctor.json" with { type: "json" };
import download from "./download.json" with { type: "json" };
import error from "./error.json" with { type: "json" };
import exported from "./export.json" with { type: "json" };
import imported from "./import.json" with { type: "json" };
import init from "./init.json" with { type: "json" };
import list from "./list.json" with { type: "json" };
import opened from "./open.json" with { type: "json" };
import policy from "./policy.json" with { type: "json" };
import record from "./record.json" with { type: "json" };
import register from "./register.json" with { type: "json" };
import stats from "./stats.json" with { type: "json" };
import tag from "./tag.json" with { type: "json" };
import trust from "./trust.json" with { type: "json" };
import upload from "./upload.json" with { type: "json" };
import url from "./url.json" with { type: "json" };
import verify from "./verify.json" with { type: "json" };

/** The subset of JSON Schema in use. */
export interface Schema {
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly enum?: readonly (string | null)[];
  readonly const?: string;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

/** The schema of a whole document. */
export interface DocumentSchema extends Schema {
  readonly $id: string;
  readonly title: string;
  readonly description: string;
}

export const schemas: readonly DocumentSchema[] = [
  record,
  upload,
  list,
  tag,
  stats,
  download,
  deleted,
  verify,
  copy,
  register,
  exported,
  imported,
  url,
  opened,
  policy,
  destroy,
  doctor,
  init,
  config,
  trust,
  error,
];
