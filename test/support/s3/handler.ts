// What every operation is given and answers with.
import type { Headers } from "./parameters.ts";
import type { Payload } from "./payload.ts";
import type { Bucket, S3ServerOptions } from "./state.ts";
import { type XmlValue, xmlDocument } from "./xml.ts";

export interface Reply {
  status: number;
  headers?: Record<string, string | number | undefined>;
  body?: string | Buffer;
}

export interface Context extends Payload {
  readonly options: Required<Pick<S3ServerOptions, "region" | "ownerAccount">> & S3ServerOptions;
  readonly buckets: Map<string, Bucket>;
  readonly operation: string;
  readonly bucketName: string;
  readonly key: string;
  readonly query: Headers;
  readonly headers: Headers;
}

/** What is known of a request before its body is read. */
export type Unread = Omit<Context, keyof Payload>;

/** For CreateBucket and ListBuckets `bucket` is one that does not exist yet. */
export type Handler = (context: Context, bucket: Bucket) => Reply;

export const xmlReply = (
  root: string,
  value: Record<string, XmlValue>,
  more: Reply["headers"] = {},
  raw?: string,
): Reply => ({
  status: 200,
  headers: { "content-type": "application/xml", ...more },
  body: xmlDocument(root, value, raw),
});

export const quoted = (etag: string) => `"${etag}"`;
export const unquoted = (etag: string) => etag.replace(/^"(.*)"$/, "$1");
export const isoDate = (date: Date) => `${date.toISOString().slice(0, 19)}.000Z`;
