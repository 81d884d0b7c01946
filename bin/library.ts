/** The library for programs: `import { openLibrary } from "docproc-cli"`. */
import { homedir, totalmem } from "node:os";
import { join } from "node:path";
import type { Library, LibraryOptions } from "../src/api/library.ts";
import { openLibraryIn } from "../src/api/open-library.ts";
import { DocprocError, exitStatuses, toDocprocError } from "../src/core/errors.ts";
import { keepSecret, secretVariables } from "../src/core/secrets.ts";

export type {
  CallOptions,
  DeletedRecord,
  DownloadOptions,
  Library,
  LibraryOptions,
  ListOptions,
  Resource,
  UploadedRecord,
  UploadOptions,
} from "../src/api/library.ts";
export type { ErrorCode } from "../src/core/errors.ts";
export type { DocumentRecord, DocumentSource, Provenance, TextMap } from "../src/document/record.ts";
export { DocprocError, exitStatuses };

/**
 * Opens a library. Nothing is sent and nothing made by it; {@link Library.init} makes what is missing.
 * @throws INVALID_CONFIG for options that cannot be, or that do not say where the library is
 */
export async function openLibrary(options: LibraryOptions): Promise<Library> {
  try {
    // So that no error ever shows them, whatever a server answers.
    for (const name of secretVariables) keepSecret(process.env[name]);
    const asked = options.config === true || typeof options.config === "string";
    return await openLibraryIn(options, {
      env: asked ? process.env : variablesOfOthers(),
      cwd: process.cwd(),
      home: homedir(),
      uid: process.getuid?.(),
      // Nothing is there but for who asks for what the command line uses.
      paths: asked ? await platformPaths() : { data: "", config: "", state: "" },
      memory: Math.min(process.constrainedMemory?.() || Number.POSITIVE_INFINITY, totalmem()),
      umask: process.umask(),
    });
  } catch (error) {
    throw toDocprocError(error);
  }
}

/** What the AWS SDK and Node act on by themselves, so that settings and checks agree with them. */
function variablesOfOthers(): Record<string, string | undefined> {
  const names = Object.keys(process.env).filter((name) => /^(AWS_|NODE_TLS_REJECT_UNAUTHORIZED$)/.test(name));
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** As bin/docproc.ts has them. Imported late: the package looks at the environment when it is loaded. */
async function platformPaths() {
  const { default: envPaths } = await import("env-paths");
  const { data, config, log } = envPaths("docproc", { suffix: "" });
  return { data, config, state: /^(darwin|win32)$/.test(process.platform) ? join(data, "state") : log };
}
