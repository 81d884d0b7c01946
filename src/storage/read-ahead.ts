/** Reads a body ahead of whoever works on it. */
import { sharedMemory } from "../core/digest.ts";
import type { Body } from "./service.ts";

/** Pieces that are read, and hashed, while another is worked on. */
const piecesAhead = 3;

/** The bytes of a body, `size` at a time and fewer at the end. Each piece is valid until the next is asked for. */
export async function* piecesOf(body: Body, size: number): AsyncIterable<Buffer> {
  const read = (into: Buffer) => {
    const piece = body.read(into);
    // Whoever gets that far hears of it.
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
