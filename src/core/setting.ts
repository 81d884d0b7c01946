/** What a setting is: a flag, a `DOCPROC_*` variable and a key of a config file under one name. */
import type { Value } from "./values.ts";

export interface Setting<V extends Value = Value> {
  /** Checks a value, from wherever it comes. @throws Error with half a sentence, such as "it must be text" */
  readonly parse: (value: unknown) => V;
  /** The flag that every command has, for `--help`. A setting without one may be a flag of single commands. */
  readonly flag?: { readonly placeholder: string; readonly help: string };
  /** For the table in docs/configuration.md, in Markdown. Without it the help text stands there. */
  readonly docs?: { readonly meaning?: string; readonly fallback?: string; readonly flag?: string };
  /** The value where no origin has one. */
  readonly fallback?: V | ((places: Places) => V);
  /** Another setting whose value this one takes where the same origin gives only that one. */
  readonly follows?: string;
  /** Variables of the vendor's own tools that mean the same; the first one that is set counts. */
  readonly vendorVariables?: readonly string[];
  /** What the vendor's tools do by themselves with their variables. It is no value here, but the user has said it. */
  readonly saidTo?: (env: Readonly<Record<string, string | undefined>>) => Value | undefined;
  /** True for one that says where a library is, not how to work with it. A profile says all of these itself. */
  readonly isPlace?: true;
  /** True for a path. A relative one starts at the file that says it, or at the working directory. */
  readonly isPath?: true;
  /** True for one that names whose credentials are used, which differs from one machine to the next. */
  readonly isPersonal?: true;
  /** How `docproc init` writes it to the project file: what the user chose, or only what init found out. */
  readonly written?: "chosen" | "found";
  /** What a project file asks for with a value, as it goes on after `to`, if that needs the user's consent. */
  readonly wish?: (value: Value, use: SettingUse) => Promise<string | undefined> | string | undefined;
}

export type SettingTable = Readonly<Record<string, Setting>>;

/** The values of a table, as a driver reads them. */
export type ValuesOf<Table extends SettingTable> = {
  readonly [Name in keyof Table]: Table[Name] extends { readonly fallback: unknown }
    ? ReturnType<Table[Name]["parse"]>
    : ReturnType<Table[Name]["parse"]> | undefined;
};

/** The two services that a driver can be of. */
export type ServiceName = "storage" | "metadata";

/** Where a setting may have its fallback. */
export interface Places {
  /** Absolute paths: where the platform keeps data and state of this program. */
  readonly data: string;
  readonly state: string;
  /** A folder for what belongs to a storage elsewhere, such as `buckets/my-documents`; undefined for one in a directory. */
  readonly elsewhere: string | undefined;
}

/** How a setting is used in one run. */
export interface SettingUse {
  /** The services whose driver has this setting. */
  readonly by: readonly ServiceName[];
  /** All settings in force, by name. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Absolute path of the directory with the project file. */
  readonly project: string;
}

/** `endpointUrl` -> `--endpoint-url` */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `endpointUrl` -> `DOCPROC_ENDPOINT_URL` */
export function variableOf(name: string): string {
  return `DOCPROC_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}
