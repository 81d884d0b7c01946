/** What every command receives: the outside world, configuration and library, opened on first use. */
import type { Readable } from "node:stream";
import { type Config, type ConfigInput, loadConfig } from "../config/config.ts";
import { assertAgreed, useWithoutConsent } from "../config/consent.ts";
import { DocumentLibrary, once } from "../library/library.ts";
import type { OutputStream, Reporter } from "./output/reporter.ts";

/** What the program may know of its process. bin/docproc.ts builds the real one, tests build others. */
export interface Host {
  /** Arguments, without the program. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  /** Of this user; undefined on Windows. */
  readonly uid?: number | undefined;
  /** Permission bits that new files do not get. */
  readonly umask: number;
  /** Absolute: the platform's data, config and state directories. */
  readonly paths: { readonly data: string; readonly config: string; readonly state: string };
  /** Bytes of memory of this machine or container. */
  readonly memory: number;
  readonly stdin: () => Readable & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Why stdout cannot be written; undefined while it can. */
  readonly stdoutError?: () => Error | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Fires on the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Fires on the second one, before the process ends: what is written while it fires may still be printed. */
  readonly ending?: AbortSignal;
  readonly version: string;
}

export interface Context {
  readonly host: Host;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  /**
   * The configuration for a command's work.
   * @throws INVALID_CONFIG when a project file decides something without the user's consent
   */
  config(): Promise<Config>;
  /** The same for display, whatever a project file says. */
  configAsFound(): Promise<Config>;
  /** What the command works on, and nothing below it. */
  library(): Promise<DocumentLibrary>;
  /** The context of a profile's library, independent of flags and variables about this one's place. */
  inProfile(name: string): Context;
  /** Closes the opened libraries. */
  close(): Promise<void>;
}

export type ConfigFlags = Pick<ConfigInput, "flags" | "file" | "use" | "apart">;

export function createContext(host: Host, reporter: Reporter, flags: ConfigFlags): Context {
  const configAsFound = once(() => loadConfig(configInput(host, flags)));
  const config = once(async () => {
    const found = await configAsFound();
    assertAgreed(found.projectUse);
    const said = found.projectUse && useWithoutConsent(found.projectUse);
    if (said !== undefined) reporter.note(said);
    return found;
  });
  const opened: DocumentLibrary[] = [];
  const library = once(async () => {
    const { settings } = await config();
    const made = new DocumentLibrary(settings, { now: host.now, debug: (message) => reporter.debug(message) });
    opened.push(made);
    return made;
  });
  const others: Context[] = [];
  return {
    host,
    reporter,
    signal: host.signal,
    config,
    configAsFound,
    library,
    inProfile(name) {
      const other = createContext(host, reporter, { ...flags, use: name, apart: true });
      others.push(other);
      return other;
    },
    async close() {
      await Promise.all([...opened, ...others].map((one) => one.close()));
    },
  };
}

/** The inputs of a command line's configuration. */
export function configInput({ env, cwd, home, uid, paths, memory }: Host, flags: ConfigFlags): ConfigInput {
  return { ...flags, env, cwd, home, uid, paths, memory };
}
