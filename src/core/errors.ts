/**
 * One error class for every failure, with a closed list of codes.
 *
 * Codes and exit statuses are a contract with scripts (docs/contract.md): add, never change.
 */

import { withoutSecrets } from "./secrets.ts";

/** What the caller can do about a failure, not where it happened. */
export const exitStatuses = {
  INTERNAL: 1,
  USAGE: 2,
  INVALID_CONFIG: 2,
  NOT_FOUND: 3,
  ACCESS_DENIED: 4,
  CONFLICT: 5,
  INTEGRITY: 6,
  PARTIAL: 7,
  UNAVAILABLE: 8,
  NOT_INITIALISED: 9,
  CANCELLED: 130,
} as const;

export type ErrorCode = keyof typeof exitStatuses;

export interface ErrorDetails {
  /** The next step for the reader. */
  hint?: string | undefined;
  /** The service's id of the failed request, for a support case. */
  requestId?: string | undefined;
  /** The underlying error; shown only with `-v`. */
  cause?: unknown;
}

/** The only error that services, commands and the program throw. */
export class DocprocError extends Error {
  override readonly name = "DocprocError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(withoutSecrets(message), { cause: details.cause });
    this.code = code;
    this.hint = details.hint === undefined ? undefined : withoutSecrets(details.hint);
    // A server may put anything into its header.
    this.requestId = details.requestId === undefined ? undefined : withoutSecrets(details.requestId);
  }

  /** The same failure with another hint. */
  withHint(hint: string): DocprocError {
    return new DocprocError(this.code, this.message, { hint, requestId: this.requestId, cause: this.cause });
  }

  /** True when running the same command again may succeed. */
  get retryable(): boolean {
    return this.code === "UNAVAILABLE" || this.code === "CANCELLED";
  }

  /** The wire form, `docproc.error/1`. */
  toJSON() {
    return {
      schema: "docproc.error/1",
      code: this.code,
      message: this.message,
      hint: this.hint ?? null,
      retryable: this.retryable,
      requestId: this.requestId ?? null,
    } as const;
  }
}

/**
 * True for a failure after which the work can be resumed: network or service down, an interruption, expired
 * credentials. After any other failure the partial work is worthless.
 */
export function isResumable(error: DocprocError): boolean {
  return error.code === "UNAVAILABLE" || error.code === "CANCELLED" || error.code === "ACCESS_DENIED";
}

/** Also in package.json. */
const bugReports = "https://github.com/docproc/docproc/issues";

/** Converts any thrown value. An unclassified error is a bug of ours: `INTERNAL`. */
export function toDocprocError(error: unknown): DocprocError {
  if (error instanceof DocprocError) return error;
  if (isSystemError(error)) return fromSystemError(error, error.path);
  if (error instanceof Error && error.name === "AbortError") return cancelled();
  const message = error instanceof Error ? error.message : String(error);
  return new DocprocError("INTERNAL", `Unexpected failure: ${message}`, {
    hint: `This is a bug in docproc. Please report it, with the output of the same command with -v: ${bugReports}`,
    cause: error,
  });
}

/** Throws `CANCELLED` once the signal has fired. */
export function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancelled(signal);
}

/** The signal's reason, or a plain `CANCELLED`. */
export function cancelled(signal?: AbortSignal): DocprocError {
  return signal?.reason instanceof DocprocError
    ? signal.reason
    : new DocprocError("CANCELLED", "Cancelled before it was finished.", { hint: "Run the same command again." });
}

type SystemError = Error & { code: string; path?: string; syscall: string };

/** Node's system errors carry `code` and `syscall`. */
export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string";
}

/**
 * Classifies a file system error by its errno.
 * @param path what the user would recognise; begins the message
 */
export function fromSystemError(error: unknown, path = "The file"): DocprocError {
  if (error instanceof DocprocError) return error;
  if (!isSystemError(error)) return toDocprocError(error);
  const [code, sentence, hint] = systemErrors[error.code] ?? [
    "UNAVAILABLE",
    `could not be accessed (${error.code} in ${error.syscall})`,
    "Check the disk and run the command again.",
  ];
  return new DocprocError(code, `${path} ${sentence}.`, { hint, cause: error });
}

const systemErrors: Record<string, [ErrorCode, string, string]> = {
  ENOENT: ["NOT_FOUND", "does not exist", "Check the spelling of the path."],
  ENOTDIR: ["NOT_FOUND", "does not exist (a part of the path is not a directory)", "Check the spelling of the path."],
  ELOOP: ["NOT_FOUND", "is a symbolic link to itself", "Name the file itself."],
  EACCES: ["ACCESS_DENIED", "cannot be accessed by this user", "Check the permissions with ls -l."],
  EPERM: ["ACCESS_DENIED", "cannot be changed by this user", "Check the permissions with ls -l."],
  EROFS: ["ACCESS_DENIED", "is on a read-only file system", "Choose another place with --directory."],
  EISDIR: ["USAGE", "is a directory", "Add -r to upload the files in it."],
  EEXIST: ["CONFLICT", "already exists", "Nothing was overwritten."],
  ENAMETOOLONG: ["USAGE", "has a name that is too long for this file system", "Use a shorter path."],
  ENOSPC: ["UNAVAILABLE", "could not be written: the disk is full", "Free some space and run the command again."],
  EDQUOT: [
    "UNAVAILABLE",
    "could not be written: the disk quota is used up",
    "Free some space and run the command again.",
  ],
  EMFILE: ["UNAVAILABLE", "could not be opened: too many files are open", "Lower --concurrency or raise ulimit -n."],
  EIO: [
    "UNAVAILABLE",
    "could not be read or written: the disk reported an error",
    "Check the disk and run the command again.",
  ],
};
