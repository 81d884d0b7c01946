/** Uploads one input, from opening it to its record, and shows its progress. */
import { detectedType } from "../../../document/detected-type.ts";
import { documentName } from "../../../document/record.ts";
import type { DocumentLibrary } from "../../../library/library.ts";
import type { UploadedDocument, UploadRequest } from "../../../transfer/upload.ts";
import type { Reporter } from "../../output/reporter.ts";
import type { Input } from "./inputs.ts";

export type InputRequest = Pick<UploadRequest, "tags" | "metadata" | "provenance" | "onDuplicate" | "dryRun"> & {
  /** Default: the input's own name. */
  readonly name: string | undefined;
  /** Default: detected from the name and the first bytes. */
  readonly contentType: string | undefined;
};

/** @throws errors of opening the input, and of {@link DocumentLibrary.upload} */
export async function uploadInput(
  { reporter, signal }: { readonly reporter: Reporter; readonly signal: AbortSignal },
  library: DocumentLibrary,
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
