/** The storage contract on S3. Loaded only by commands that talk to S3, because it loads the SDK. */
import { DeleteObjectCommand, GetObjectCommand, paginateListObjectsV2, type S3Client } from "@aws-sdk/client-s3";
import { skewOf } from "../../aws/client.ts";
import { advancingPages, fromAwsError, httpStatusOf } from "../../aws/failures.ts";
import { DocprocError, throwIfCancelled } from "../../core/errors.ts";
import type { Leftover } from "../../core/leftover.ts";
import type {
  Body,
  CopyOptions,
  ListedObject,
  OpenOptions,
  PutOptions,
  PutResult,
  RequestToSign,
  SignedRequest,
  StorageService,
  StoredObject,
} from "../service.ts";
import { abortUpload, headIfThere, lastPartStored, type ObjectTarget, planParts, unfinishedUploads } from "./parts.ts";
import { sendObject } from "./put.ts";
import type { S3Settings } from "./settings.ts";
import { s3Traits } from "./traits.ts";
import { PartMemory } from "./windows.ts";

export class S3Storage implements StorageService {
  readonly traits = s3Traits;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #settings: S3Settings;
  readonly #memory: PartMemory;

  constructor(client: S3Client, bucket: string, settings: S3Settings) {
    this.#client = client;
    this.#bucket = bucket;
    this.#settings = settings;
    this.#memory = new PartMemory(settings.memory);
  }

  async put(key: string, body: Body, options: PutOptions): Promise<PutResult> {
    const plan = planParts(options.size, this.#settings.partSize, this.#settings.memory);
    const how = { ...options, settings: this.#settings, memory: this.#memory };
    return await sendObject(this.#target(key), body, plan, how);
  }

  async copy(from: string, to: string, options: CopyOptions): Promise<PutResult | undefined> {
    const { copyObject } = await import("./copy.ts");
    return await copyObject(from, this.#target(to), options, this.#settings);
  }

  async open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>> {
    const range = options.range ? { Range: `bytes=${options.range.start}-${options.range.end}` } : {};
    try {
      const reply = await this.#client.send(new GetObjectCommand({ Bucket: this.#bucket, Key: key, ...range }), {
        abortSignal: options.signal,
      });
      if (!reply.Body) throw new DocprocError("UNAVAILABLE", `S3 sent no bytes for ${key}.`);
      return this.#content(reply.Body as unknown as AsyncIterable<Uint8Array>, options.signal);
    } catch (error) {
      throw this.#failure(error, "s3:GetObject");
    }
  }

  /** The content of a response. Errors in the middle of it are network errors. */
  async *#content(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncIterable<Uint8Array> {
    try {
      yield* body;
    } catch (error) {
      throwIfCancelled(signal);
      const failure = this.#failure(error, "s3:GetObject");
      if (failure.code !== "INTERNAL") throw failure;
      throw new DocprocError("UNAVAILABLE", `The connection to the bucket ${this.#bucket} was lost.`, {
        hint: "Run the same command again.",
        cause: error,
      });
    }
  }

  async stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    try {
      return await headIfThere(this.#target(key), signal);
    } catch (error) {
      throw this.#failure(error, "s3:GetObject");
    }
  }

  async *list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    const input = { Bucket: this.#bucket, Prefix: prefix };
    try {
      const pages = paginateListObjectsV2({ client: this.#client }, input, { abortSignal: signal });
      for await (const page of advancingPages(pages, ({ NextContinuationToken }) => NextContinuationToken)) {
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          throwIfCancelled(signal);
          if (Key !== undefined) yield { key: Key, size: Size ?? 0, age: this.#ageOf(LastModified) };
        }
      }
    } catch (error) {
      throw this.#failure(error, "s3:ListBucket");
    }
  }

  async *leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover> {
    try {
      for await (const { Key, UploadId, Initiated } of unfinishedUploads(this.#client, this.#bucket, prefix, signal)) {
        if (Key === undefined || UploadId === undefined) continue;
        // A large upload may run for days.
        const lastWorkedOn = (await this.#lastPartStored(Key, UploadId, signal)) ?? Initiated;
        const discard = async (late: AbortSignal) => await this.#abort(Key, UploadId, late);
        yield { kind: "multipart-upload", name: Key, key: Key, age: this.#ageOf(lastWorkedOn), discard };
      }
    } catch (error) {
      throw this.#failure(error, "s3:ListBucketMultipartUploads");
    }
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key }), { abortSignal: signal });
    } catch (error) {
      throw this.#failure(error, "s3:DeleteObject");
    }
  }

  async sign(key: string, request: RequestToSign): Promise<SignedRequest> {
    const { signRequest } = await import("./presign.ts");
    try {
      return await signRequest(this.#target(key), request, this.#settings);
    } catch (error) {
      throw this.#failure(error, "s3:GetObject");
    }
  }

  uri(key: string): string {
    return `s3://${this.#bucket}/${key}`;
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  #target(key: string): ObjectTarget {
    return { client: this.#client, bucket: this.#bucket, key };
  }

  async #lastPartStored(key: string, uploadId: string, signal: AbortSignal): Promise<Date | undefined> {
    try {
      return await lastPartStored(this.#target(key), uploadId, signal);
    } catch (error) {
      // It ended just now.
      if (httpStatusOf(error) === 404) return undefined;
      throw this.#failure(error, "s3:ListMultipartUploadParts");
    }
  }

  async #abort(key: string, uploadId: string, signal: AbortSignal): Promise<void> {
    try {
      await abortUpload(this.#target(key), uploadId, signal);
    } catch (error) {
      throw this.#failure(error, "s3:AbortMultipartUpload");
    }
  }

  /** Milliseconds, by S3's clock. An undated object counts as new, so that it is never removed. */
  #ageOf(time: Date | undefined): number {
    return time === undefined ? 0 : Date.now() + (skewOf(this.#client) ?? 0) - time.getTime();
  }

  #failure(error: unknown, action: string): DocprocError {
    return fromAwsError(error, { action, resource: `bucket ${this.#bucket}`, settings: this.#settings });
  }
}
