/** Bodies for a put, made of what a test has at hand. */

import type { Body } from "../../src/storage/service.ts";
import { MemoryBody, StreamedBody } from "../../src/transfer/body.ts";
import { readerOf } from "../../src/transfer/source.ts";

/** A body in memory, or one that is read piece by piece, as often as it is asked for. */
export function bodyOf(content: Uint8Array | (() => AsyncIterable<Uint8Array>)): Body {
  if (content instanceof Uint8Array) return new MemoryBody(Buffer.from(content));
  return new StreamedBody({ open: () => readerOf(content()), once: false, atEnd: async () => {} });
}
