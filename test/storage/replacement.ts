/** The part of the suite of conformance.ts that is about keys that were used before, and about copies. */
import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { newDocumentId, storageKey } from "../../src/document/record.ts";
import type { CopyOptions, PutOptions, PutResult, StorageService, StoredObject } from "../../src/storage/service.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;

export interface Subject {
  readonly storage: () => StorageService;
  /** What failed or interrupted uploads left behind. */
  readonly leftovers: () => Promise<number>;
  /** True where the service computes a CRC-32 of its own, or needs none. */
  readonly proves: () => boolean;
  readonly catalog: string;
  readonly newKey: (name?: string) => string;
  readonly put: (
    key: string,
    content: Uint8Array | (() => AsyncIterable<Uint8Array>),
    options?: Partial<PutOptions>,
  ) => Promise<PutResult>;
  readonly read: (key: string) => Promise<Buffer>;
}

export function replacementConformance({ storage, leftovers, proves, catalog, newKey, put, read }: Subject): void {
  const seen = async (key: string): Promise<StoredObject> =>
    (await storage().stat(key, never)) ?? expect.fail(`nothing is stored under ${key}`);
  const sizes = [
    ["small", 1000],
    ["multipart", 11 * mebibyte],
  ] as const;
  async function* pieces(bytes: Buffer, then: () => void) {
    yield bytes.subarray(0, bytes.length - 10);
    then();
    yield bytes.subarray(bytes.length - 10);
  }

  describe("a damaged object", () => {
    test.each(sizes)("is replaced by a %s one", async (_name, size) => {
      const [key, bytes] = [newKey(), randomBytes(size)];
      await put(key, Buffer.from("damaged"));
      const damaged = await seen(key);
      expect(await put(key, bytes, { replaces: damaged })).toMatchObject({ size, bytesSent: size });
      expect((await read(key)).equals(bytes)).toBe(true);
      expect(await seen(key)).toMatchObject({ size, catalog });
      expect((await seen(key)).version).not.toBe(damaged.version);
      expect(await leftovers()).toBe(0);
    });

    test.each(sizes)("is not replaced by a %s one when it has changed since", async (_name, size) => {
      const key = newKey();
      await put(key, Buffer.from("damaged"));
      const damaged = await seen(key);
      await put(key, Buffer.from("restored"), { replaces: damaged });
      const putting = put(key, randomBytes(size), { replaces: damaged });
      await expect(putting).rejects.toMatchObject({ code: "CONFLICT" });
      expect((await read(key)).toString()).toBe("restored");
      expect(await leftovers()).toBe(0);
    });

    test.each(sizes)("is not replaced by a %s one when it has gone since", async (_name, size) => {
      const key = storageKey("", newDocumentId(), "a.bin");
      await put(key, Buffer.from("damaged"));
      const damaged = await seen(key);
      await storage().remove(key, never);
      const putting = put(key, randomBytes(size), { replaces: damaged });
      await expect(putting).rejects.toMatchObject({ code: "CONFLICT" });
      expect(await storage().stat(key, never)).toBeUndefined();
      expect(await leftovers()).toBe(0);
    });

    test.each(sizes)("is there, or a whole new one, when a %s replacement fails or is stopped", async (_name, size) => {
      const key = newKey();
      await put(key, Buffer.from("damaged"));
      const replaces = await seen(key);
      const broken = new DocprocError("INTEGRITY", "the source changed");
      const failing = () =>
        pieces(randomBytes(size), () => {
          throw broken;
        });
      await expect(put(key, failing, { replaces })).rejects.toBe(broken);
      const abort = new AbortController();
      const stopped = () => pieces(randomBytes(size), () => abort.abort(new DocprocError("CANCELLED", "stop")));
      const stopping = put(key, stopped, { replaces, signal: abort.signal });
      await expect(stopping).rejects.toMatchObject({ code: "CANCELLED" });
      expect((await read(key)).toString()).toBe("damaged");
      expect(await leftovers()).toBe(0);
    });

    test("is replaced by one of several at the same time, and the bytes of that one stay whole", async () => {
      const key = newKey();
      await put(key, Buffer.from("damaged"));
      const replaces = await seen(key);
      const bodies = Array.from({ length: 8 }, () => randomBytes(100_000));
      const results = await Promise.allSettled(bodies.map((body) => put(key, body, { replaces })));
      const stored = await read(key);
      const winners = bodies.filter((_, index) => results[index]?.status === "fulfilled");
      expect(winners.some((body) => body.equals(stored))).toBe(true);
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "CONFLICT" });
      }
      expect(await leftovers()).toBe(0);
    });
  });

  test("a lost object is put back, and nothing that another process has put back is overwritten", async () => {
    const key = newKey();
    await put(key, Buffer.from("restored"), { replaces: null });
    await expect(put(key, Buffer.from("other"), { replaces: null })).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await read(key)).toString()).toBe("restored");
  });

  test("an object that nothing wrote to is not said to be touched", async () => {
    const key = storageKey("", newDocumentId(), "a.txt");
    await put(key, Buffer.from("x"));
    expect((await seen(key)).touched).not.toBe(true);
    await put(key, Buffer.from("y"), { replaces: await seen(key) });
    expect((await seen(key)).touched).not.toBe(true);
  });

  describe("a copy", () => {
    const expected = (bytes: Buffer, more: Partial<CopyOptions> = {}): CopyOptions => ({
      size: bytes.length,
      crc32: crc32(bytes),
      sha256: createHash("sha256").update(bytes).digest("hex"),
      contentType: "text/plain",
      catalog,
      signal: never,
      ...more,
    });
    /** Whether it was made. A service without checksums may decline; what must not be made never is. */
    const copied = async (from: string, to: string, options: CopyOptions): Promise<boolean> => {
      const result = await storage().copy(from, to, options);
      if (result === undefined) expect(proves()).toBe(false);
      else expect(result).toMatchObject({ size: options.size, bytesSent: 0 });
      return result !== undefined;
    };

    test.each([0, 1000, 11 * mebibyte])("has the %i bytes of its source, and outlives it", async (size) => {
      const [from, to, bytes] = [
        storageKey("", newDocumentId(), "a+b%41 c.bin"),
        newKey("a+b%41 c.bin"),
        randomBytes(size),
      ];
      await put(from, bytes);
      if (await copied(from, to, expected(bytes))) {
        expect(await seen(to)).toMatchObject({ size, catalog, crc32: (await seen(from)).crc32 });
        expect((await read(from)).equals(bytes)).toBe(true);
        await storage().remove(from, never);
        expect((await read(to)).equals(bytes)).toBe(true);
      }
      expect(await leftovers()).toBe(0);
    });

    test("is not made of what is not there, or has other bytes", async () => {
      const [from, to, bytes] = [newKey(), newKey(), randomBytes(1000)];
      expect(await storage().copy(from, to, expected(bytes))).toBeUndefined();
      await put(from, bytes);
      for (const other of [randomBytes(1000), bytes.subarray(1)]) {
        expect(await storage().copy(from, to, expected(other))).toBeUndefined();
      }
      expect(await storage().stat(to, never)).toBeUndefined();
      expect(await leftovers()).toBe(0);
    });

    test("never overwrites", async () => {
      const [from, to, bytes] = [newKey(), newKey(), randomBytes(1000)];
      await put(from, bytes);
      await put(to, Buffer.from("taken"));
      for (const replaces of [undefined, null, await seen(from)]) {
        const copying = storage().copy(from, to, expected(bytes, { replaces }));
        await expect(copying).rejects.toMatchObject({ code: "CONFLICT" });
      }
      expect((await read(to)).toString()).toBe("taken");
      expect(await leftovers()).toBe(0);
    });

    test("replaces a damaged object, and no other", async () => {
      const [from, to, bytes] = [newKey(), newKey(), randomBytes(1000)];
      await put(from, bytes);
      await put(to, Buffer.from("damaged"));
      const replaces = await seen(to);
      if (!(await copied(from, to, expected(bytes, { replaces })))) return;
      expect((await read(to)).equals(bytes)).toBe(true);
      const again = storage().copy(from, to, expected(bytes, { replaces }));
      await expect(again).rejects.toMatchObject({ code: "CONFLICT" });
    });

    test("is not made under a signal that has fired, and leaves nothing when it is stopped", async () => {
      const [from, to, bytes] = [newKey(), newKey(), randomBytes(3 * mebibyte)];
      await put(from, bytes);
      const stop = new DocprocError("CANCELLED", "stop");
      const fired = storage().copy(from, to, expected(bytes, { signal: AbortSignal.abort(stop) }));
      await expect(fired).rejects.toMatchObject({ code: "CANCELLED" });
      const abort = new AbortController();
      const copying = storage().copy(from, to, expected(bytes, { signal: abort.signal }));
      setImmediate(() => abort.abort(stop));
      const made = await copying.catch((error: unknown) => {
        expect(error).toMatchObject({ code: "CANCELLED" });
        return undefined;
      });
      expect((await storage().stat(to, never)) !== undefined).toBe(made !== undefined);
      expect(await leftovers()).toBe(0);
    });

    test("is made by one of several at the same time", async () => {
      const [from, to, bytes] = [newKey(), newKey(), randomBytes(1000)];
      await put(from, bytes);
      const results = await Promise.allSettled(
        Array.from({ length: 4 }, () => storage().copy(from, to, expected(bytes))),
      );
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "CONFLICT" });
      }
      const made = results.some((result) => result.status === "fulfilled" && result.value !== undefined);
      expect(made || !proves()).toBe(true);
      if (made) expect((await read(to)).equals(bytes)).toBe(true);
      expect(await leftovers()).toBe(0);
    });
  });
}
