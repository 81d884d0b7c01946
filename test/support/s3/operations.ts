// Every operation the server knows, and how a request is recognized as one.
import { encryption, lifecycle, ownershipControls, policy, publicAccessBlock } from "./bucket-settings.ts";
import { createBucket, deleteBucket, getBucketLocation, headBucket } from "./buckets.ts";
import { copyObject, uploadPartCopy } from "./copies.ts";
import type { Handler } from "./handler.ts";
import { listBuckets, listMultipartUploads, listObjects, listObjectVersions } from "./listings.ts";
import {
  abortMultipartUpload,
  completeMultipartUpload,
  createMultipartUpload,
  listParts,
  uploadPart,
} from "./multipart.ts";
import { deleteObject, getObject, putObject } from "./objects.ts";
import type { Headers } from "./parameters.ts";

/** By name: method, scope, the query parameter that selects the operation, others it takes; and its handler. */
export const OPERATIONS: Readonly<Record<string, readonly [route: string, handler: Handler]>> = {
  ListBuckets: ["GET service - prefix max-buckets continuation-token", listBuckets],
  CreateBucket: ["PUT bucket -", createBucket],
  HeadBucket: ["HEAD bucket -", headBucket],
  DeleteBucket: ["DELETE bucket -", deleteBucket],
  GetBucketLocation: ["GET bucket location", getBucketLocation],
  GetPublicAccessBlock: ["GET bucket publicAccessBlock", publicAccessBlock.get],
  PutPublicAccessBlock: ["PUT bucket publicAccessBlock", publicAccessBlock.put],
  DeletePublicAccessBlock: ["DELETE bucket publicAccessBlock", publicAccessBlock.remove],
  GetBucketOwnershipControls: ["GET bucket ownershipControls", ownershipControls.get],
  PutBucketOwnershipControls: ["PUT bucket ownershipControls", ownershipControls.put],
  DeleteBucketOwnershipControls: ["DELETE bucket ownershipControls", ownershipControls.remove],
  GetBucketEncryption: ["GET bucket encryption", encryption.get],
  PutBucketEncryption: ["PUT bucket encryption", encryption.put],
  DeleteBucketEncryption: ["DELETE bucket encryption", encryption.remove],
  GetBucketPolicy: ["GET bucket policy", policy.get],
  PutBucketPolicy: ["PUT bucket policy", (...of) => ({ ...policy.put(...of), status: 204 })],
  DeleteBucketPolicy: ["DELETE bucket policy", policy.remove],
  GetBucketLifecycleConfiguration: ["GET bucket lifecycle", lifecycle.get],
  PutBucketLifecycleConfiguration: ["PUT bucket lifecycle", lifecycle.put],
  DeleteBucketLifecycle: ["DELETE bucket lifecycle", lifecycle.remove],
  ListObjectsV2: ["GET bucket list-type prefix max-keys continuation-token start-after encoding-type", listObjects],
  ListObjectVersions: [
    "GET bucket versions prefix max-keys key-marker version-id-marker encoding-type",
    listObjectVersions,
  ],
  ListMultipartUploads: [
    "GET bucket uploads prefix key-marker upload-id-marker max-uploads encoding-type",
    listMultipartUploads,
  ],
  PutObject: ["PUT object -", putObject],
  CopyObject: ["PUT object -", copyObject],
  GetObject: ["GET object - response-content-type response-content-disposition", getObject],
  HeadObject: ["HEAD object -", getObject],
  DeleteObject: ["DELETE object -", deleteObject],
  CreateMultipartUpload: ["POST object uploads", createMultipartUpload],
  UploadPart: ["PUT object uploadId partNumber", uploadPart],
  UploadPartCopy: ["PUT object uploadId partNumber", uploadPartCopy],
  ListParts: ["GET object uploadId max-parts part-number-marker", listParts],
  CompleteMultipartUpload: ["POST object uploadId", completeMultipartUpload],
  AbortMultipartUpload: ["DELETE object uploadId", abortMultipartUpload],
};

/** @param copies whether the request names an object that is copied */
export function findOperation(
  method: string,
  bucketName: string,
  key: string,
  query: Headers,
  copies: boolean,
): string | undefined {
  const scope = key !== "" ? "object" : bucketName !== "" ? "bucket" : "service";
  const names = Object.keys(query).filter((name) => name !== "x-id");
  return Object.entries(OPERATIONS).find(([name, [route]]) => {
    const [routeMethod, routeScope, selector = "-", ...parameters] = route.split(" ");
    const selected = selector === "-" || names.includes(selector);
    const known = [selector, ...parameters];
    if (/Copy/.test(name) !== copies) return false;
    return routeMethod === method && routeScope === scope && selected && names.every((name) => known.includes(name));
  })?.[0];
}
