/** Sends one object, restarts if S3 dropped the upload, and maps errors. multipart.ts is one attempt. */
import { errorNameOf, fromAwsError } from "../../aws/failures.ts";
import { cancelled } from "../../core/errors.ts";
import type { Body, PutOptions, PutResult } from "../service.ts";
import { ObjectUpload, type SendOptions } from "./multipart.ts";
import type { ObjectTarget, PartPlan } from "./parts.ts";

/** How often an upload that S3 has dropped is begun anew. */
const beginnings = 3;

/**
 * Sends a body as a new object and proves it: S3's own CRC-32 of the whole object must equal that of the
 * bytes that were read. On failure no object and no part of it stay behind, as far as S3 can be reached; unless
 * there is a checkpoint, and the failure is one after which the upload can be gone on with.
 * @throws CONFLICT, INTEGRITY when the proof fails, what the SDK's failures mean, what the body threw, CANCELLED
 */
export async function sendObject(
  target: ObjectTarget,
  body: Body,
  plan: PartPlan,
  options: SendOptions,
): Promise<PutResult> {
  const operation = { action: "s3:PutObject", resource: `bucket ${target.bucket}`, settings: options.settings };
  const tell = tellOnce(options);
  for (let attempt = 1; ; attempt++) {
    const upload = new ObjectUpload(target, plan, { ...options, ...tell() });
    try {
      return await upload.send(body);
    } catch (thrown) {
      const error = options.signal.aborted ? cancelled(options.signal) : fromAwsError(thrown, operation);
      const ended = await upload.end(error, isSpent(thrown));
      if (!isSpent(thrown) || attempt === beginnings || options.signal.aborted || !(await body.rewind())) throw ended;
    }
  }
}

/** Makes the callbacks of one attempt after another: what was told of in one is not told of again in the next. */
function tellOnce({ onProgress, onSkipped }: PutOptions): () => Pick<PutOptions, "onProgress" | "onSkipped"> {
  let told = 0;
  return () => {
    let counted = 0;
    const beyond = (tell?: (bytes: number) => void) => (bytes: number) => {
      counted += bytes;
      if (counted > told) tell?.(Math.min(bytes, counted - told));
      told = Math.max(told, counted);
    };
    return { onProgress: beyond(onProgress), onSkipped: beyond(onSkipped) };
  };
}

/**
 * S3 no longer knows the upload, or met another request for the key while it completed it; either way all parts
 * have to be sent again. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
function isSpent(error: unknown): boolean {
  return ["NoSuchUpload", "ConditionalRequestConflict"].includes(errorNameOf(error));
}
