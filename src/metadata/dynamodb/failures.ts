/** Maps errors of a table to the codes of the contract. */
import { fromAwsError } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { DynamodbSettings } from "./settings.ts";

/**
 * Classifies an SDK error.
 * @param action for example `dynamodb:GetItem`, as in IAM policies
 */
export function tableFailure(error: unknown, action: string, table: string, settings: DynamodbSettings): DocprocError {
  return fromAwsError(error, { action, resource: `table ${table}`, settings });
}

/** @param what the table could not do within the retries */
export function tooBusy(table: string, what: "be read" | "commit", cause?: unknown): DocprocError {
  return new DocprocError("UNAVAILABLE", `The table ${table} is too busy to ${what} now.`, {
    hint: "Wait a moment and run the same command again.",
    cause,
  });
}

/** The commit or removal may have succeeded, or may still succeed. */
export function unanswered(table: string, cause: unknown): DocprocError {
  return new DocprocError("UNAVAILABLE", `The table ${table} did not respond before the interruption ended the wait.`, {
    hint: "It is unknown whether it was done. Run the same command again.",
    cause,
  });
}
