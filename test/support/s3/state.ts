// What the server keeps, and the options it is started with.
import { type Encryption, everyAccessBlocked, type PublicAccessBlock } from "./bucket-documents.ts";
import type { Checksum, DeclaredChecksum, PartChecksum } from "./checksums.ts";

export interface Description {
  contentType: string;
  /** User metadata, names without x-amz-meta-. */
  metadata: Record<string, string>;
  /** Other headers that come back with the object: cache-control, x-amz-server-side-encryption and the like. */
  headers: Record<string, string>;
}

export interface StoredObject extends Description {
  body: Buffer;
  /** Without quotes. */
  etag: string;
  checksum?: Checksum | undefined;
  lastModified: Date;
}

export interface StoredPart {
  body: Buffer;
  etag: string;
  checksum?: PartChecksum | undefined;
  lastModified: Date;
}

export interface MultipartUpload extends Description {
  key: string;
  parts: Map<number, StoredPart>;
  initiated: Date;
  /** What CreateMultipartUpload declared. */
  checksum?: DeclaredChecksum | undefined;
  /** The object of this key was deleted since, so that a conditional completion is a conflict. */
  deletedSince: boolean;
}

export interface BucketConfiguration {
  publicAccessBlock?: PublicAccessBlock | undefined;
  ownership?: string | undefined;
  encryption?: Encryption | undefined;
  policy?: string | undefined;
  /** The rules, as XML. */
  lifecycle?: string | undefined;
}

export interface Bucket extends BucketConfiguration {
  created: Date;
  objects: Map<string, StoredObject>;
  uploads: Map<string, MultipartUpload>;
}

export interface S3ServerOptions {
  region?: string;
  accessKeyId?: string;
  /** Of every key id; known where requests are signed in their address only. Default: test. */
  secretAccessKey?: string;
  ownerAccount?: string;
  /** Operations answered 501 NotImplemented, to imitate lesser endpoints. */
  without?: readonly string[];
  /** false: checksums are neither kept nor returned nor demanded; those sent are still compared with the body. */
  checksums?: boolean;
  /** Bytes of the largest object that one request copies. Default: 5 GiB. */
  largestCopy?: number;
  /** Codes of errors in which the next copies end after their answer has begun; taken out as they are used. */
  copyFailures?: string[];
  /** Buckets of another account. */
  foreignBuckets?: readonly string[];
  /** false: new buckets have the defaults of Amazon S3, which are AES256, no public access, BucketOwnerEnforced. */
  bareBuckets?: boolean;
}

export function newBucket({ bareBuckets }: S3ServerOptions): Bucket {
  const bucket: Bucket = { created: new Date(), objects: new Map(), uploads: new Map() };
  if (bareBuckets !== false) return bucket;
  return {
    ...bucket,
    publicAccessBlock: { ...everyAccessBlocked },
    ownership: "BucketOwnerEnforced",
    encryption: { algorithm: "AES256", bucketKey: false },
  };
}
