/** The storage contract on S3. Loaded only when a command really talks to S3: it brings the SDK with it. */
import { DeleteObjectCommand, GetObjectCommand, paginateListObjectsV2, S3Client } from "@aws-sdk/client-s3";
import { fromAwsError, httpStatusOf } from "../aws.ts";
import { DocprocError, throwIfCancelled } from "../errors.ts";
import type { Settings } from "../settings.ts";
import { headObject, type ObjectTarget, planParts, sendObject } from "./s3-multipart.ts";
import type { Body, ListedObject, OpenOptions, PutOptions, StorageService, StoredObject } from "./service.ts";

export { S3Client };

export class S3Storage implements StorageService {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #settings: Settings;

  constructor(client: S3Client, bucket: string, settings: Settings) {
    this.#client = client;
    this.#bucket = bucket;
    this.#settings = settings;
  }

  async put(key: string, body: Body, options: PutOptions): Promise<StoredObject> {
    try {
      return await sendObject(this.#target(key), body, planParts(options.size, this.#settings.partSize), options);
    } catch (error) {
      throw this.#failure(error, "s3:PutObject");
    }
  }

  async open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>> {
    const range = options.range ? { Range: `bytes=${options.range.start}-${options.range.end}` } : {};
    try {
      const reply = await this.#client.send(new GetObjectCommand({ Bucket: this.#bucket, Key: key, ...range }), {
        abortSignal: options.signal,
      });
      if (!reply.Body) throw new DocprocError("UNAVAILABLE", `S3 sent no bytes for ${key}.`);
      return reply.Body as unknown as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw this.#failure(error, "s3:GetObject");
    }
  }

  async stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    try {
      return await headObject(this.#target(key), signal);
    } catch (error) {
      if (httpStatusOf(error) === 404) return undefined;
      throw this.#failure(error, "s3:GetObject");
    }
  }

  async *list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    const input = { Bucket: this.#bucket, Prefix: prefix };
    try {
      for await (const page of paginateListObjectsV2({ client: this.#client }, input, { abortSignal: signal })) {
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          throwIfCancelled(signal);
          if (Key !== undefined) yield { key: Key, size: Size ?? 0, modifiedAt: LastModified ?? new Date(0) };
        }
      }
    } catch (error) {
      throw this.#failure(error, "s3:ListBucket");
    }
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key }), { abortSignal: signal });
    } catch (error) {
      throw this.#failure(error, "s3:DeleteObject");
    }
  }

  uri(key: string): string {
    return `s3://${this.#bucket}/${key}`;
  }

  keyOf(uri: string): string | undefined {
    const start = `s3://${this.#bucket}/`;
    return uri.startsWith(start) ? uri.slice(start.length) : undefined;
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  #target(key: string): ObjectTarget {
    return { client: this.#client, bucket: this.#bucket, key };
  }

  #failure(error: unknown, action: string): DocprocError {
    return fromAwsError(error, { action, resource: `bucket ${this.#bucket}`, settings: this.#settings });
  }
}
