/** The library for programs: `import { openLibrary } from "docproc-cli"`. */
import { homedir, totalmem } from "node:os";
import { join } from "node:path";
import type { Library, LibraryOptions } from "../src/api/library.ts";
import { openLibraryIn } from "../src/api/open-library.ts";
import { DocprocError, exitStatuses, toDocprocError } from "../src/core/errors.ts";
import { registerSecret, secretVariables } from "../src/core/secrets.ts";

export type {
  CallOptions,
  CopiedRecord,
  CopyOptions,
  Damage,
  DeletedRecord,
  DownloadedRecord,
  DownloadOptions,
  FilterOptions,
  Library,
  LibraryOptions,
  ListOptions,
  RegisteredRecord,
  RegisterOptions,
  Resource,
  SignedUrl,
  TaggedRecord,
  TagOptions,
  UploadedRecord,
  UploadOptions,
  UrlOptions,
  VerifyOptions,
} from "../src/api/library.ts";
export type { ErrorCode } from "../src/core/errors.ts";
export type { DocumentRecord, DocumentSource, Provenance, TextMap } from "../src/document/record.ts";
export type { Group, Stats } from "../src/library/stats.ts";
export { DocprocError, exitStatuses };

/**
 * Opens a library. Sends and creates nothing; {@link Library.init} creates what is missing.
 * @throws INVALID_CONFIG for invalid options, or when they do not say where the library is
 */
export async function openLibrary(options: LibraryOptions): Promise<Library> {
  try {
    // Keeps credentials out of error messages.
    for (const name of secretVariables) registerSecret(process.env[name]);
    const asked = options.config === true || typeof options.config === "string";
    return await openLibraryIn(options, {
      env: asked ? process.env : variablesOfOthers(),
      cwd: process.cwd(),
      home: homedir(),
      uid: process.getuid?.(),
      // Used only with the command line's configuration.
      paths: asked ? await platformPaths() : { data: "", config: "", state: "" },
      memory: Math.min(process.constrainedMemory?.() || Number.POSITIVE_INFINITY, totalmem()),
      umask: process.umask(),
    });
  } catch (error) {
    throw toDocprocError(error);
  }
}

/** Variables that the AWS SDK and Node read themselves; our checks must agree. */
function variablesOfOthers(): Record<string, string | undefined> {
  const names = Object.keys(process.env).filter((name) => /^(AWS_|NODE_TLS_REJECT_UNAUTHORIZED$)/.test(name));
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** As in bin/docproc.ts. Imported late: env-paths reads the environment when it loads. */
async function platformPaths() {
  const { default: envPaths } = await import("env-paths");
  const { data, config, log } = envPaths("docproc", { suffix: "" });
  return { data, config, state: /^(darwin|win32)$/.test(process.platform) ? join(data, "state") : log };
}
