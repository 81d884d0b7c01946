/** The definition of a setting: a flag, a `DOCPROC_*` variable and a config file key under one name. */
import type { Value } from "./values.ts";

export interface Setting<V extends Value = Value> {
  /** Validates a value from any source. @throws Error with half a sentence, such as "it must be text" */
  readonly parse: (value: unknown) => V;
  /** The flag of every command, for `--help`. Without it, single commands may have one. */
  readonly flag?: { readonly placeholder: string; readonly help: string };
  /** Markdown for the table in docs/configuration.md; default: the help text. */
  readonly docs?: { readonly meaning?: string; readonly fallback?: string; readonly flag?: string };
  /** The default value. */
  readonly fallback?: V | ((places: Places) => V);
  /** Another setting whose value it takes when an origin sets only that one. */
  readonly follows?: string;
  /** Equivalent variables of the vendor's tools; the first one set wins. */
  readonly vendorVariables?: readonly string[];
  /**
   * What the vendor's tools themselves take from their variables. It is no value here, but counts as the user's word.
   */
  readonly saidTo?: (env: Readonly<Record<string, string | undefined>>) => Value | undefined;
  /** True when it says where a library is, not how to work with it. A profile gives all of these itself. */
  readonly isPlace?: true;
  /** True for a path; relative to the file that sets it, or to the working directory. */
  readonly isPath?: true;
  /** True when it names someone's credentials, which differ between machines. */
  readonly isPersonal?: true;
  /** What `docproc init` writes to the project file: the user's choice, or only what init found. */
  readonly written?: "chosen" | "found";
  /** What a project file wants with a value, continuing after `to`, if that needs the user's consent. */
  readonly wish?: (value: Value, use: SettingUse) => Promise<string | undefined> | string | undefined;
}

export type SettingTable = Readonly<Record<string, Setting>>;

/** The values of a table, as a driver reads them. */
export type ValuesOf<Table extends SettingTable> = {
  readonly [Name in keyof Table]: Table[Name] extends { readonly fallback: unknown }
    ? ReturnType<Table[Name]["parse"]>
    : ReturnType<Table[Name]["parse"]> | undefined;
};

/** The two services that drivers implement. */
export type ServiceName = "storage" | "metadata";

/** Places for defaults. */
export interface Places {
  /** Absolute paths of the platform's data and state directories for this program. */
  readonly data: string;
  readonly state: string;
  /** A folder for the catalog of a remote storage, such as `buckets/my-documents`; undefined for a local storage. */
  readonly elsewhere: string | undefined;
}

/** How one run uses a setting. */
export interface SettingUse {
  /** The services whose driver has the setting. */
  readonly by: readonly ServiceName[];
  /** All settings in force, by name. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Absolute path of the project file's directory. */
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
