// The checksums that Amazon S3 knows, and how requests and replies name them.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { invalidRequest } from "./errors.ts";
import type { Headers } from "./parameters.ts";

export type ChecksumAlgorithm = "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256";
type ChecksumType = "FULL_OBJECT" | "COMPOSITE";

export interface PartChecksum {
  algorithm: ChecksumAlgorithm;
  value: string;
}

export interface DeclaredChecksum {
  algorithm: ChecksumAlgorithm;
  type: ChecksumType;
}

export interface Checksum extends DeclaredChecksum {
  value: string;
}

/** A reflected CRC of up to 64 bits, register and polynomial held as two 32-bit halves. */
function makeCrc(polynomialHigh: number, polynomialLow: number, bytes: 4 | 8): (data: Buffer) => Buffer {
  const highs = new Uint32Array(256);
  const lows = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let high = 0;
    let low = i;
    for (let bit = 0; bit < 8; bit++) {
      const carry = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (carry === 1) {
        high ^= polynomialHigh;
        low ^= polynomialLow;
      }
    }
    highs[i] = high;
    lows[i] = low;
  }
  return (data) => {
    let high = bytes === 8 ? 0xffffffff : 0;
    let low = 0xffffffff;
    for (const byte of data) {
      const index = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (lows[index] ?? 0);
      high = (high >>> 8) ^ (highs[index] ?? 0);
    }
    const out = Buffer.alloc(8);
    out.writeUInt32BE(~high >>> 0, 0);
    out.writeUInt32BE(~low >>> 0, 4);
    return out.subarray(8 - bytes);
  };
}

function crc32Bytes(data: Buffer): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(crc32(data));
  return out;
}

const DIGESTS: Readonly<Record<ChecksumAlgorithm, (data: Buffer) => Buffer>> = {
  CRC32: crc32Bytes,
  CRC32C: makeCrc(0, 0x82f63b78, 4),
  CRC64NVME: makeCrc(0x9a6c9329, 0xac4bc9b5, 8),
  SHA1: (data) => createHash("sha1").update(data).digest(),
  SHA256: (data) => createHash("sha256").update(data).digest(),
};
const DIGEST_LENGTHS: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

export const CHECKSUM_ALGORITHMS: readonly ChecksumAlgorithm[] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
export const checksumHeader = (algorithm: ChecksumAlgorithm): string => `x-amz-checksum-${algorithm.toLowerCase()}`;
/** The algorithm of a name as headers, trailers and elements spell it. */
export const checksumAlgorithm = (name: string): ChecksumAlgorithm | undefined =>
  CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === name.toUpperCase());
export const checksumOf = (algorithm: ChecksumAlgorithm, data: Buffer): string =>
  DIGESTS[algorithm](data).toString("base64");
/** Canonical base64 of the right length; S3 refuses stray bits and characters that a lenient decoder skips. */
export function isChecksumValue(algorithm: ChecksumAlgorithm, value: string): boolean {
  const bytes = Buffer.from(value, "base64");
  return bytes.length === DIGEST_LENGTHS[algorithm] && bytes.toString("base64") === value;
}

export const checksumHeaders = (checksum: PartChecksum | Checksum | undefined): Record<string, string> => {
  if (checksum === undefined) return {};
  const value = { [checksumHeader(checksum.algorithm)]: checksum.value };
  return "type" in checksum ? { ...value, "x-amz-checksum-type": checksum.type } : value;
};
export const checksumElements = (checksum: PartChecksum | undefined): Record<string, string> =>
  checksum === undefined ? {} : { [`Checksum${checksum.algorithm}`]: checksum.value };

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html */
export function declaredChecksum(headers: Headers): DeclaredChecksum | undefined {
  const { "x-amz-checksum-algorithm": name, "x-amz-checksum-type": type } = headers;
  const algorithm = checksumAlgorithm(name ?? "");
  if (name === undefined && type === undefined) return undefined;
  if (name === undefined) {
    throw invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.");
  }
  if (algorithm === undefined) {
    const known = CHECKSUM_ALGORITHMS.join(", ");
    throw invalidRequest(
      `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${known}]`,
    );
  }
  const chosen = type ?? (algorithm === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE");
  if (chosen !== "FULL_OBJECT" && chosen !== "COMPOSITE") {
    throw invalidRequest("Value for x-amz-checksum-type header is invalid.");
  }
  if (chosen === "FULL_OBJECT" ? algorithm.startsWith("SHA") : algorithm === "CRC64NVME") {
    const name = algorithm.toLowerCase();
    throw invalidRequest(`The ${chosen} checksum type cannot be used with the ${name} checksum algorithm.`);
  }
  return { algorithm, type: chosen };
}
