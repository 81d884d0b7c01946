/** Presigned URLs: requests that anyone can send without credentials. Loaded only when one is signed. */
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { create as contentDisposition } from "content-disposition";
import { skewOf } from "../../aws/client.ts";
import { httpStatusOf } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { RequestToSign, SignedRequest } from "../service.ts";
import { catalogHeader, headObject, type ObjectTarget } from "./parts.ts";
import type { S3Settings } from "./settings.ts";

/** Bytes per request: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html */
const maxPutSize = 5 * 1024 ** 3;

/**
 * See {@link StorageService.sign}. Checks that the object exists, and learns S3's time from the response: a signature
 * dated by a wrong clock may expire before it begins.
 */
export async function signRequest(
  target: ObjectTarget,
  request: RequestToSign,
  settings: S3Settings,
): Promise<SignedRequest> {
  const { client, key } = target;
  if (request.method === "PUT") assertEnforced(request, settings);
  const there = await isThere(target, request.signal);
  if (request.method === "GET" && !there) {
    throw new DocprocError("NOT_FOUND", `No object is stored under ${key}.`, {
      hint: "If you have the file, restore it with docproc url REF --put.",
    });
  }
  if (request.method === "PUT" && there) {
    throw new DocprocError("CONFLICT", `The document's bytes are not lost: they are stored under ${key}.`, {
      hint: "Stored bytes are never replaced. To store other bytes, upload them as a new document.",
    });
  }
  const { expiration, sessionToken } = await client.config.credentials();
  const signingDate = new Date(Math.floor((Date.now() + (skewOf(client) ?? 0)) / 1000) * 1000);
  const requested = new Date(signingDate.getTime() + request.expiresIn);
  const credentialsExpireAt = expiration ?? (sessionToken === undefined ? null : "unknown");
  const early = credentialsExpireAt instanceof Date && credentialsExpireAt < requested;
  return {
    ...(request.method === "GET"
      ? await signGet(target, request, signingDate)
      : await signPut(target, request, settings, signingDate)),
    expiresAt: early ? credentialsExpireAt : requested,
    credentialsExpireAt,
  };
}

/** Without enforced checksum and condition, a PUT could store anything over anything. */
function assertEnforced({ size }: RequestToSign & { method: "PUT" }, { unsupported }: S3Settings): void {
  const missing = unsupported.split(",").filter((kind) => kind === "checksums" || kind === "no-overwrite");
  if (missing.length > 0) {
    throw new DocprocError("USAGE", `This endpoint cannot protect such a URL: it lacks ${missing.join()}.`, {
      hint: "Use docproc upload, which checks what was stored.",
    });
  }
  if (size > maxPutSize) {
    throw new DocprocError("USAGE", "The document is larger than the 5 GiB that S3 accepts in one request.", {
      hint: "Upload it with docproc upload, which sends it in parts.",
    });
  }
}

async function isThere(target: ObjectTarget, signal: AbortSignal): Promise<boolean> {
  try {
    await headObject(target, signal);
    return true;
  } catch (error) {
    if (httpStatusOf(error) === 404) return false;
    throw error;
  }
}

type Signed = Pick<SignedRequest, "url" | "headers">;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html (Overriding response header values) */
async function signGet(
  { client, bucket: Bucket, key: Key }: ObjectTarget,
  { name, contentType, expiresIn }: RequestToSign & { method: "GET" },
  signingDate: Date,
): Promise<Signed> {
  const command = new GetObjectCommand({
    Bucket,
    Key,
    ResponseContentType: contentType,
    // The name in both forms of RFC 6266. As an attachment, since foreign HTML must be saved and not shown.
    ResponseContentDisposition: contentDisposition(name),
  });
  // The SDK adds a checksum of the missing body.
  command.middlewareStack.add(
    (next) => (args) => {
      delete (args.request as { headers: Record<string, string> }).headers["x-amz-checksum-crc32"];
      return next(args);
    },
    { step: "build", priority: "low", name: "docprocNoChecksum" },
  );
  return { url: await getSignedUrl(client, command, { expiresIn: expiresIn / 1000, signingDate }), headers: {} };
}

/**
 * The checksum and the condition must be signed as headers: S3 ignores a checksum that the SDK moves into the URL.
 * https://github.com/aws/aws-sdk-js-v3/issues/4448
 */
async function signPut(
  { client, bucket: Bucket, key: Key }: ObjectTarget,
  { contentType, sha256, catalog, expiresIn }: RequestToSign & { method: "PUT" },
  { bucketOwner }: S3Settings,
  signingDate: Date,
): Promise<Signed> {
  const checksum = Buffer.from(sha256, "hex").toString("base64");
  const headers = {
    "content-type": contentType,
    "if-none-match": "*",
    "x-amz-checksum-sha256": checksum,
    [`x-amz-meta-${catalogHeader}`]: catalog,
    ...(bucketOwner === undefined ? {} : { "x-amz-expected-bucket-owner": bucketOwner }),
  };
  const command = new PutObjectCommand({
    Bucket,
    Key,
    ContentType: contentType,
    IfNoneMatch: "*",
    ChecksumSHA256: checksum,
    Metadata: { [catalogHeader]: catalog },
  });
  const asHeaders = new Set(Object.keys(headers));
  const how = { expiresIn: expiresIn / 1000, signingDate, unhoistableHeaders: asHeaders, signableHeaders: asHeaders };
  return { url: await getSignedUrl(client, command, how), headers };
}
