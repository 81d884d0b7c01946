/** The S3 of the null endpoint: knows how large each object is, and what its headers said. */
import type { IncomingMessage } from "node:http";
import type { NullReply } from "./null-endpoint.ts";

interface Stored {
  readonly size: number;
  /** What a GET or HEAD gives back: the user's metadata, checksums. */
  readonly headers: Record<string, string>;
}

interface Upload {
  readonly key: string;
  readonly headers: Record<string, string>;
  readonly parts: Map<number, number>;
}

/** Part of every ETag: what follows the hyphen tells clients that it is no MD5, so that they compare none. */
const etag = '"00000000000000000000000000000000-1"';

export class NullS3 {
  readonly #objects = new Map<string, Stored>();
  readonly #uploads = new Map<string, Upload>();

  answer({ method = "", url = "", headers }: IncomingMessage, length: number, body: string): NullReply {
    const { pathname: path, searchParams: query } = new URL(url, "http://null");
    const size = Number(headers["x-amz-decoded-content-length"] ?? length);
    const uploadId = query.get("uploadId");
    const given = Object.fromEntries(
      Object.entries(headers).filter(([name]) => /^x-amz-(meta-|checksum-|storage-class)/.test(name)),
    ) as Record<string, string>;
    if (path.split("/").length < 3 || path.endsWith("/")) return this.#answerForBucket(method, query);
    if (uploadId !== null) return this.#answerForUpload(method, uploadId, query, { size, given, body });
    if (query.has("uploads")) {
      const id = `upload${this.#uploads.size}`;
      this.#uploads.set(id, { key: path, headers: given, parts: new Map() });
      return xml("CreateMultipartUpload", "InitiateMultipartUploadResult", `<UploadId>${id}</UploadId>`);
    }
    const source = this.#objects.get(`/${headers["x-amz-copy-source"]}`);
    if (method === "PUT" && source) {
      this.#objects.set(path, source);
      return xml("CopyObject", "CopyObjectResult", `<ETag>${etag}</ETag>${checksumElements(source.headers)}`);
    }
    if (method === "PUT") {
      this.#objects.set(path, { size, headers: given });
      return { operation: "PutObject", headers: { etag: etagOf(headers), ...checksumsOf(given) } };
    }
    if (method === "DELETE") {
      this.#objects.delete(path);
      return { operation: "DeleteObject", status: 204 };
    }
    const found = this.#objects.get(path);
    const operation = method === "HEAD" ? "HeadObject" : "GetObject";
    if (!found || method !== "HEAD") return { operation, status: 404 };
    const lastModified = new Date(0).toUTCString();
    const described = { etag, "last-modified": lastModified, ...found.headers, "content-length": String(found.size) };
    return { operation, headers: described };
  }

  #answerForUpload(
    method: string,
    id: string,
    query: URLSearchParams,
    { size, given, body }: { size: number; given: Record<string, string>; body: string },
  ): NullReply {
    const upload = this.#uploads.get(id);
    if (upload === undefined) return { operation: "NoSuchUpload", status: 404 };
    if (method === "PUT") {
      upload.parts.set(Number(query.get("partNumber")), size);
      return { operation: "UploadPart", headers: { etag, ...checksumsOf(given) } };
    }
    if (method === "GET") return xml("ListParts", "ListPartsResult", "<IsTruncated>false</IsTruncated>");
    this.#uploads.delete(id);
    if (method === "DELETE") return { operation: "AbortMultipartUpload", status: 204 };
    const total = [...upload.parts.values()].reduce((sum, part) => sum + part, 0);
    if (!body.includes("<Part>")) return { operation: "CompleteMultipartUpload", status: 400 };
    this.#objects.set(upload.key, { size: total, headers: upload.headers });
    const content = `<ETag>${etag}</ETag>${checksumElements(given)}`;
    return xml("CompleteMultipartUpload", "CompleteMultipartUploadResult", content);
  }

  /** What clients ask before they copy: whether the bucket is there, where, and what is in it. */
  #answerForBucket(method: string, query: URLSearchParams): NullReply {
    if (query.has("location")) return xml("GetBucketLocation", "LocationConstraint", "");
    if (method !== "GET") return { operation: `${method} bucket` };
    return xml("ListObjects", "ListBucketResult", "<IsTruncated>false</IsTruncated><KeyCount>0</KeyCount>");
  }
}

/** Clients that send the MD5 of an object expect to meet it again as the ETag. */
function etagOf(headers: IncomingMessage["headers"]): string {
  const md5 = headers["content-md5"];
  return typeof md5 === "string" ? `"${Buffer.from(md5, "base64").toString("hex")}"` : etag;
}

function checksumsOf(given: Record<string, string>): Record<string, string> {
  const crc32 = given["x-amz-checksum-crc32"];
  return crc32 === undefined ? {} : { "x-amz-checksum-crc32": crc32, "x-amz-checksum-type": "FULL_OBJECT" };
}

function checksumElements(given: Record<string, string>): string {
  const crc32 = given["x-amz-checksum-crc32"];
  const checksum = crc32 === undefined ? "" : `<ChecksumCRC32>${crc32}</ChecksumCRC32>`;
  return `${checksum}<ChecksumType>FULL_OBJECT</ChecksumType>`;
}

function xml(operation: string, root: string, content: string): NullReply {
  const namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${namespace}">${content}</${root}>`;
  return { operation, headers: { "content-type": "application/xml" }, body };
}
