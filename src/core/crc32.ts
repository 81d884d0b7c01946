/** Combines and formats CRC-32 checksums. */

/** The CRC-32 polynomial, bits reversed. https://www.rfc-editor.org/rfc/rfc1952#section-8 */
const polynomial = 0xedb88320;

/**
 * The CRC-32 of two concatenated pieces from their own CRCs, without rereading either.
 *
 * Appending zeros multiplies a CRC by x^(8 * count) modulo the polynomial; adding the second CRC completes it, as in
 * zlib's `crc32_combine`. https://github.com/madler/zlib/blob/v1.3.1/crc32.c
 * @param length of the second piece, bytes
 */
export function combineCrc32(first: number, second: number, length: number): number {
  return (multiply(powerOfX(length * 8), first) ^ second) >>> 0;
}

/** a * b modulo the polynomial; the highest bit is the coefficient of x^0. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ polynomial;
  }
  return product >>> 0;
}

/** x^n modulo the polynomial, by squaring. */
function powerOfX(n: number): number {
  let power = 0x80000000;
  // x^1, x^2, x^4, … A length in bits may exceed the 32 bits of JavaScript's bit operators.
  let square = 0x40000000;
  for (let left = n; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) power = multiply(square, power);
    square = multiply(square, square);
  }
  return power;
}

/** The form in records: 8 lower-case hex digits; null stays null. */
export function crc32Digits(checksum: number | null): string | null {
  return checksum === null ? null : checksum.toString(16).padStart(8, "0");
}
