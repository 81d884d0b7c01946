// The operations that list buckets, objects and multipart uploads page by page.
import { invalidArgument } from "./errors.ts";
import { type Context, isoDate, quoted, type Reply, xmlReply } from "./handler.ts";
import { makeToken, nameEncoder, readCount, readToken } from "./parameters.ts";
import type { Bucket } from "./state.ts";

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** One page of `names` in the order of their bytes. */
function pageOf(names: Iterable<string>, prefix: string, after: string, max: number) {
  const left = [...names].filter((name) => name.startsWith(prefix) && byBytes(name, after) > 0).sort(byBytes);
  const page = left.slice(0, max);
  const last = page.at(-1);
  return { page, next: last !== undefined && left.length > max ? makeToken(last) : undefined };
}

export function listBuckets({ buckets, options, query }: Context): Reply {
  const { prefix } = query;
  const max = readCount(query, "max-buckets", 10_000, 10_000, 1);
  const { page, next } = pageOf(buckets.keys(), prefix ?? "", readToken(query["continuation-token"]) ?? "", max);
  const Bucket = page.map((Name) => {
    const created = buckets.get(Name)?.created ?? new Date(0);
    return { Name, CreationDate: isoDate(created), BucketRegion: options.region };
  });
  const owner = { ID: options.ownerAccount };
  const fields = { Owner: owner, Buckets: { Bucket }, Prefix: prefix, ContinuationToken: next };
  return xmlReply("ListAllMyBucketsResult", fields);
}

export function listObjects({ bucketName, query }: Context, bucket: Bucket): Reply {
  if (query["list-type"] !== "2") throw invalidArgument("Invalid List Type", "list-type", query["list-type"] ?? "");
  const { prefix = "", "start-after": startAfter, "continuation-token": token } = query;
  const encode = nameEncoder(query);
  const max = readCount(query, "max-keys", 1000, 1000);
  const { page, next } = pageOf(bucket.objects.keys(), prefix, readToken(token) ?? startAfter ?? "", max);
  return xmlReply("ListBucketResult", {
    Name: bucketName,
    Prefix: encode(prefix),
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
    ContinuationToken: token,
    NextContinuationToken: next,
    KeyCount: page.length,
    MaxKeys: max,
    EncodingType: query["encoding-type"],
    IsTruncated: next !== undefined,
    Contents: page.map((key) => {
      const object = bucket.objects.get(key);
      return {
        Key: encode(key),
        LastModified: isoDate(object?.lastModified ?? new Date(0)),
        ETag: quoted(object?.etag ?? ""),
        ChecksumAlgorithm: object?.checksum?.algorithm,
        ChecksumType: object?.checksum?.type,
        Size: object?.body.length,
        StorageClass: object?.headers["x-amz-storage-class"] ?? "STANDARD",
      };
    }),
  });
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html of a bucket that never had versions. */
export function listObjectVersions({ bucketName, options, query }: Context, bucket: Bucket): Reply {
  const encode = nameEncoder(query);
  const { prefix = "", "key-marker": marker = "" } = query;
  const max = readCount(query, "max-keys", 1000, 1000);
  const { page, next } = pageOf(bucket.objects.keys(), prefix, marker, max);
  return xmlReply("ListVersionsResult", {
    Name: bucketName,
    Prefix: encode(prefix),
    KeyMarker: encode(marker),
    VersionIdMarker: "",
    NextKeyMarker: next === undefined ? undefined : encode(page.at(-1) ?? ""),
    NextVersionIdMarker: next === undefined ? undefined : "null",
    MaxKeys: max,
    EncodingType: query["encoding-type"],
    IsTruncated: next !== undefined,
    Version: page.map((key) => {
      const object = bucket.objects.get(key);
      return {
        Key: encode(key),
        VersionId: "null",
        IsLatest: true,
        LastModified: isoDate(object?.lastModified ?? new Date(0)),
        ETag: quoted(object?.etag ?? ""),
        Size: object?.body.length,
        Owner: { ID: options.ownerAccount },
        StorageClass: object?.headers["x-amz-storage-class"] ?? "STANDARD",
      };
    }),
  });
}

export function listMultipartUploads({ bucketName, query }: Context, bucket: Bucket): Reply {
  const encode = nameEncoder(query);
  const { prefix = "", "key-marker": keyMarker = "" } = query;
  const idMarker = keyMarker === "" ? "" : (query["upload-id-marker"] ?? "");
  const max = readCount(query, "max-uploads", 1000, 1000, 1);
  const all = [...bucket.uploads]
    .filter(([, upload]) => upload.key.startsWith(prefix))
    .sort(([, a], [, b]) => byBytes(a.key, b.key) || a.initiated.getTime() - b.initiated.getTime());
  const marked = all.findIndex(([id, upload]) => id === idMarker && upload.key === keyMarker);
  if (idMarker !== "" && marked < 0) throw invalidArgument("Invalid uploadId marker", "upload-id-marker", idMarker);
  const left = all.filter(([, { key }], index) => (marked < 0 ? byBytes(key, keyMarker) > 0 : index > marked));
  const page = left.slice(0, max);
  const truncated = left.length > page.length;
  const [lastId, lastUpload] = (truncated ? page.at(-1) : undefined) ?? [];
  return xmlReply("ListMultipartUploadsResult", {
    Bucket: bucketName,
    KeyMarker: encode(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: lastUpload === undefined ? undefined : encode(lastUpload.key),
    NextUploadIdMarker: lastId,
    Prefix: prefix === "" ? undefined : encode(prefix),
    EncodingType: query["encoding-type"],
    MaxUploads: max,
    IsTruncated: truncated,
    Upload: page.map(([id, upload]) => ({
      Key: encode(upload.key),
      UploadId: id,
      StorageClass: upload.headers["x-amz-storage-class"] ?? "STANDARD",
      Initiated: isoDate(upload.initiated),
      ChecksumAlgorithm: upload.checksum?.algorithm,
      ChecksumType: upload.checksum?.type,
    })),
  });
}
