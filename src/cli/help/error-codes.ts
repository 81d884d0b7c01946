/** The meaning of each error code and exit status. */
import type { ErrorCode } from "../../core/errors.ts";

/** What went wrong, for each code. */
export const meanings: Record<ErrorCode, string> = {
  INTERNAL: "A bug in docproc.",
  USAGE: "The command line cannot be meant like this; nothing was attempted.",
  INVALID_CONFIG: "A setting is missing or cannot be; nothing was attempted.",
  NOT_FOUND: "There is no such document or file.",
  ACCESS_DENIED: "Credentials are missing, expired or refused, or a file may not be accessed.",
  CONFLICT: "Something is there already, or belongs to somebody else.",
  INTEGRITY: "Bytes are not those that were expected, or a file changed while it was read.",
  PARTIAL: "Some of several files or documents were done, others failed.",
  UNAVAILABLE: "A service, the network or a disk is not available; running the same command again may succeed.",
  NOT_INITIALISED: "The bucket or the table is not there; docproc init makes it.",
  CANCELLED: "Interrupted; 143 after SIGTERM.",
};

/** What a script should do about it. */
export const nextSteps: Readonly<Record<ErrorCode, string>> = {
  INTERNAL: "Report it, with what the same command prints with -v.",
  USAGE: "Correct the command line.",
  INVALID_CONFIG: "Correct the setting; docproc config shows where each comes from.",
  NOT_FOUND: "Check the path, the id or the name.",
  ACCESS_DENIED: "Get credentials, or the right that the message names.",
  CONFLICT: "Look at what is there; nothing was overwritten.",
  INTEGRITY: "Nothing was recorded of it. Run it again; after verify or doctor, read the findings.",
  PARTIAL: "Run it again for those that failed: what is done is not done twice.",
  UNAVAILABLE: "Run it again later: it goes on from where it stopped.",
  NOT_INITIALISED: "Run docproc init.",
  CANCELLED: "Run it again: it goes on from where it stopped.",
};
