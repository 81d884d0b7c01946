/** The meaning of each error code and exit status. */
import type { ErrorCode } from "../../core/errors.ts";

/** What went wrong, for each code. */
export const meanings: Record<ErrorCode, string> = {
  INTERNAL: "A bug in docproc.",
  USAGE: "The command line is invalid; nothing was attempted.",
  INVALID_CONFIG: "A setting is missing or invalid; nothing was attempted.",
  NOT_FOUND: "The document or file does not exist.",
  ACCESS_DENIED: "Credentials are missing, expired or refused, or access to a file is denied.",
  CONFLICT: "Something already exists, belongs to another owner, or means two documents.",
  INTEGRITY: "Bytes do not match their record, or a file changed while it was read.",
  PARTIAL: "Some files or documents are done, others failed.",
  UNAVAILABLE: "A service, the network or a disk is unavailable; the same command may succeed later.",
  NOT_INITIALISED: "The bucket or table does not exist; docproc init creates it.",
  CANCELLED: "Interrupted; 143 after SIGTERM.",
};

/** What a script should do about it. */
export const nextSteps: Readonly<Record<ErrorCode, string>> = {
  INTERNAL: "Report it, with the output of the same command with -v.",
  USAGE: "Correct the command line.",
  INVALID_CONFIG: "Correct the setting; docproc config shows the origin of each.",
  NOT_FOUND: "Check the path or the id.",
  ACCESS_DENIED: "Get credentials, or the permission that the message names.",
  CONFLICT: "Check what exists; nothing was overwritten.",
  INTEGRITY: "Nothing was recorded. Run it again; after verify or doctor, read the findings.",
  PARTIAL: "Run it again to retry the failed ones; finished ones are not repeated.",
  UNAVAILABLE: "Run it again later; it resumes where it stopped.",
  NOT_INITIALISED: "Run docproc init.",
  CANCELLED: "Run it again; it resumes where it stopped.",
};
