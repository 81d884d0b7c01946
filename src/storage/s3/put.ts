/** Sends one object, restarts if S3 dropped the upload, and maps errors. multipart.ts is one attempt. */
import { errorNameOf, fromAwsError } from "../../aws/failures.ts";
import { cancelled } from "../../core/errors.ts";
import type { Body, PutOptions, PutResult } from "../service.ts";
import { ObjectUpload, type SendOptions } from "./multipart.ts";
import type { ObjectTarget, PartPlan } from "./parts.ts";

/** Attempts for an upload that S3 drops. */
const maxAttempts = 3;

/**
 * Sends a body as a new object and proves it: S3's CRC-32 of the whole object must equal that of the bytes read. After
 * a failure no object and no parts are left, as far as S3 can be reached, unless the upload can be resumed from its
 * checkpoint.
 * @throws CONFLICT, INTEGRITY when the proof fails, the SDK's errors as ours, the body's errors, CANCELLED
 */
export async function sendObject(
  target: ObjectTarget,
  body: Body,
  plan: PartPlan,
  options: SendOptions,
): Promise<PutResult> {
  const operation = { action: "s3:PutObject", resource: `bucket ${target.bucket}`, settings: options.settings };
  const nextCallbacks = reportOnce(options);
  for (let attempt = 1; ; attempt++) {
    const upload = new ObjectUpload(target, plan, { ...options, ...nextCallbacks() });
    try {
      return await upload.send(body);
    } catch (thrown) {
      const error = options.signal.aborted ? cancelled(options.signal) : fromAwsError(thrown, operation);
      const ended = await upload.end(error, isDropped(thrown));
      if (!isDropped(thrown) || attempt === maxAttempts || options.signal.aborted || !(await body.rewind()))
        throw ended;
    }
  }
}

/** Callbacks that count over several attempts: bytes reported in one are not reported again in the next. */
function reportOnce({ onProgress, onSkipped }: PutOptions): () => Pick<PutOptions, "onProgress" | "onSkipped"> {
  let told = 0;
  return () => {
    let counted = 0;
    const reportNew = (report?: (bytes: number) => void) => (bytes: number) => {
      counted += bytes;
      if (counted > told) report?.(Math.min(bytes, counted - told));
      told = Math.max(told, counted);
    };
    return { onProgress: reportNew(onProgress), onSkipped: reportNew(onSkipped) };
  };
}

/**
 * S3 dropped the upload, or met another request for the key while completing it; all parts must be sent again.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
function isDropped(error: unknown): boolean {
  return ["NoSuchUpload", "ConditionalRequestConflict"].includes(errorNameOf(error));
}
