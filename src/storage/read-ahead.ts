/** Reads a body ahead of its consumer. */
import { sharedMemory } from "../core/digest.ts";
import type { Body } from "./service.ts";

/** Pieces that are read and hashed while the consumer uses another. */
const piecesAhead = 3;

/** Yields a body in pieces of `size`, the last one shorter. Each piece is valid until the next is requested. */
export async function* piecesOf(body: Body, size: number): AsyncIterable<Buffer> {
  const read = (into: Buffer) => {
    const piece = body.read(into);
    // Reported when its piece is reached.
    piece.catch(() => {});
    return { into, piece };
  };
  const ahead = Array.from({ length: piecesAhead }, () => read(sharedMemory(size)));
  for (let next = ahead.shift(); next; next = ahead.shift()) {
    const { length } = await next.piece;
    if (length === 0) return;
    yield next.into.subarray(0, length);
    ahead.push(read(next.into));
  }
}
