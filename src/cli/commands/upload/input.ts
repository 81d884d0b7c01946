/** Uploads one input, from opening it to its record, and shows its progress. */
import { detectedType } from "../../../document/detected-type.ts";
import { documentName } from "../../../document/record.ts";
import type { Library } from "../../../library/library.ts";
import type { UploadedDocument, UploadRequest } from "../../../transfer/upload.ts";
import type { Reporter } from "../../output/reporter.ts";
import type { Input } from "./inputs.ts";

export type InputRequest = Pick<UploadRequest, "tags" | "metadata" | "provenance" | "onDuplicate" | "dryRun"> & {
  /** Undefined: the input's own. */
  readonly name: string | undefined;
  /** Undefined: what the name and the first bytes tell. */
  readonly contentType: string | undefined;
};

/** @throws what opening it throws, and what {@link Library.upload} does */
export async function uploadInput(
  { reporter, signal }: { readonly reporter: Reporter; readonly signal: AbortSignal },
  library: Library,
  input: Input,
  { name: given, contentType, ...request }: InputRequest,
): Promise<UploadedDocument> {
  const source = await input.open();
  const progress = reporter.progress.start(input.label, source.size);
  try {
    const name = given ?? documentName(source.name);
    return await library.upload(source, {
      ...request,
      name,
      contentType: async (head) => contentType ?? (await detectedType(name, head)),
      signal,
      onProgress: progress.advance,
      onSkipped: progress.skip,
    });
  } finally {
    progress.done();
    await source.close();
  }
}
