/** Uploads one input, from opening it to its record, and shows its progress. */

import { DocprocError } from "../../../core/errors.ts";
import { detectedType } from "../../../document/detected-type.ts";
import { nameOfPath } from "../../../document/path.ts";
import type { DocumentLibrary } from "../../../library/library.ts";
import type { UploadedDocument, UploadRequest } from "../../../transfer/request.ts";
import type { Source } from "../../../transfer/source.ts";
import type { Reporter } from "../../output/reporter.ts";
import type { Input } from "./inputs.ts";

export type InputRequest = Pick<
  UploadRequest,
  "facts" | "tags" | "provenance" | "onDuplicate" | "restores" | "dryRun"
> & {
  /** Fail where there are no bytes. */
  readonly refuseEmpty: boolean;
};

/** @throws errors of opening the input, and of {@link DocumentLibrary.upload} */
export async function uploadInput(
  { reporter, signal }: { readonly reporter: Reporter; readonly signal: AbortSignal },
  library: DocumentLibrary,
  input: Input,
  { refuseEmpty, ...request }: InputRequest,
): Promise<UploadedDocument> {
  const opened = await input.open();
  const source = refuseEmpty ? notEmpty(opened) : opened;
  const progress = reporter.progress.start(input.label, source.size);
  try {
    const { path } = input;
    return await library.upload(source, {
      ...request,
      path,
      detectType: async (head) => await detectedType(nameOfPath(path), head),
      signal,
      onProgress: progress.advance,
      onSkipped: progress.skip,
    });
  } finally {
    progress.done();
    await source.close();
  }
}

/** The source, whose reading fails if it ends at once: the size of standard input is not known before. */
function notEmpty(source: Source): Source {
  return {
    ...source,
    read(signal) {
      const reader = source.read(signal);
      let isEmpty = true;
      return {
        async read(into) {
          const length = await reader.read(into);
          if (length > 0) isEmpty = false;
          else if (isEmpty && (into.length > 0 || source.size === 0)) throw emptyInput(source.label);
          return length;
        },
        close: () => reader.close(),
      };
    },
  };
}

function emptyInput(label: string): DocprocError {
  return new DocprocError("USAGE", `${label === "-" ? "Standard input" : label} is empty.`, {
    hint: "Check what should have written it, or leave out --refuse-empty.",
  });
}
