import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { combineCrc32 } from "../../src/core/crc32.ts";

test.each([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
  [4096, 3],
  [3, 4096],
  [1_000_003, 65_537],
])("the CRC-32s of %i and %i bytes combine to that of both together", (first, second) => {
  const [a, b] = [randomBytes(first), randomBytes(second)];
  expect(combineCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])));
});

test("a CRC-32 combines with one behind more zeros than 32 bits can count", () => {
  // 5 GiB, by 320 times 16 MiB: what zlib computes piece by piece.
  const zeros = Buffer.alloc(16 * 1024 * 1024);
  let expected = crc32("document");
  const ofZeros = crc32(zeros);
  let allZeros = 0;
  for (let piece = 0; piece < 320; piece++) {
    expected = combineCrc32(expected, ofZeros, zeros.length);
    allZeros = combineCrc32(allZeros, ofZeros, zeros.length);
  }
  expect(combineCrc32(crc32("document"), allZeros, 320 * zeros.length)).toBe(expected);
});
