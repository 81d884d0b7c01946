/** The suite that every kind of storage passes. The promises are the comments of src/storage/service.ts. */
import { createHash, randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import type { Leftover } from "../../src/core/leftover.ts";
import type { Settings } from "../../src/core/settings.ts";
import { newDocumentId, storageKey } from "../../src/document/record.ts";
import type { PutOptions, SignedRequest, StorageDriver, StorageService } from "../../src/storage/service.ts";
import { bodyOf } from "../support/body.ts";
import { replacementConformance } from "./replacement.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** A place of a storage, empty when a suite begins. */
export interface StorageTarget {
  readonly settings: Settings;
  /** What failed or interrupted uploads left behind. */
  leftovers(): Promise<number>;
  /** Leaves what a put leaves whose process dies. */
  leave(key: string): Promise<void>;
  /** True where the service computes a CRC-32 of its own. */
  readonly checksums: boolean;
  close(): Promise<void>;
}

export function storageConformance(driver: StorageDriver, start: () => Promise<StorageTarget>): void {
  let target: StorageTarget;
  let storage: StorageService;
  let serial = 0;

  beforeAll(async () => {
    target = await start();
    for await (const _ of driver.provision(target.settings, { plan: false, signal: never }));
    storage = await driver.open(target.settings);
  });
  afterAll(async () => {
    await storage?.close();
    await target?.close();
  });

  const newKey = (name = "document.bin") => `k${serial++}/${name}`;
  const catalog = "the-catalog-of-this-test";
  const put = (
    key: string,
    content: Uint8Array | (() => AsyncIterable<Uint8Array>),
    options: Partial<PutOptions> = {},
  ) =>
    storage.put(key, bodyOf(content), {
      size: content instanceof Uint8Array ? content.length : null,
      contentType: "application/octet-stream",
      catalog,
      signal: never,
      ...options,
    });
  const read = async (key: string) => buffer(await storage.open(key, { signal: never }));
  const keys = async (prefix: string) => {
    const found: string[] = [];
    for await (const { key } of storage.list(prefix, never)) found.push(key);
    return found.sort();
  };

  const leftovers = async () => {
    const found: Leftover[] = [];
    for await (const leftover of storage.leftovers("", never)) {
      if (!("isForeign" in leftover)) found.push(leftover);
    }
    return found;
  };

  // Around one part, and around a whole number of parts.
  const sizes = [0, 1, 5 * mebibyte - 1, 5 * mebibyte, 5 * mebibyte + 1, 10 * mebibyte, 10 * mebibyte + 1];

  test.each(sizes)("keeps %i bytes from memory exactly", async (size) => {
    const key = newKey();
    const bytes = randomBytes(size);
    const stored = await put(key, bytes);
    expect(stored.size).toBe(size);
    expect((await read(key)).equals(bytes)).toBe(true);
    expect(await storage.stat(key, never)).toMatchObject({ size });
  });

  test.each(sizes)("keeps %i bytes from a stream of unknown length exactly", async (size) => {
    const key = newKey();
    const bytes = randomBytes(size);
    const stored = await put(key, chunks(bytes));
    expect(stored.size).toBe(size);
    expect((await read(key)).equals(bytes)).toBe(true);
    expect(await target.leftovers()).toBe(0);
  });

  test("keeps a stream of known length exactly", async () => {
    const key = newKey();
    const bytes = randomBytes(11 * mebibyte);
    await put(key, chunks(bytes), { size: bytes.length });
    expect((await read(key)).equals(bytes)).toBe(true);
  });

  test("answers with the CRC-32 of the whole object where the service computes one", async () => {
    for (const bytes of [randomBytes(1000), randomBytes(12 * mebibyte)]) {
      const key = newKey();
      const stored = await put(key, bytes);
      if (target.checksums) {
        expect(stored.crc32).toBe(crc32(bytes));
        expect((await storage.stat(key, never))?.crc32).toBe(crc32(bytes));
      } else {
        expect([null, crc32(bytes)]).toContain(stored.crc32);
      }
    }
  });

  test("never overwrites an object", async () => {
    const key = newKey();
    await put(key, Buffer.from("first"));
    await expect(put(key, Buffer.from("other"))).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(put(key, chunks(randomBytes(11 * mebibyte)))).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await read(key)).toString()).toBe("first");
    expect(await target.leftovers()).toBe(0);
  });

  test("lets one of ten writers of the same key win, and its bytes stay whole", async () => {
    const key = newKey();
    const bodies = Array.from({ length: 10 }, () => randomBytes(100_000));
    const results = await Promise.allSettled(bodies.map((body) => put(key, body)));
    const winners = results.flatMap((result, index) => (result.status === "fulfilled" ? [index] : []));
    expect(winners).toHaveLength(1);
    expect((await read(key)).equals(bodies[winners[0] ?? -1] ?? Buffer.alloc(0))).toBe(true);
    for (const result of results) {
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "CONFLICT" });
    }
  });

  test.each([
    ["small", 1000],
    ["multipart", 12 * mebibyte],
  ])("shows nothing and leaves nothing when the body of a %s object fails", async (_name, size) => {
    const key = newKey();
    const broken = new DocprocError("INTEGRITY", "the source changed");
    await expect(put(key, chunks(randomBytes(size), broken))).rejects.toBe(broken);
    expect(await storage.stat(key, never)).toBeUndefined();
    expect(await keys(key)).toEqual([]);
    expect(await target.leftovers()).toBe(0);
  });

  test("shows nothing and leaves nothing when it is aborted half-way", async () => {
    const key = newKey();
    const abort = new AbortController();
    async function* body() {
      yield randomBytes(6 * mebibyte);
      abort.abort(new DocprocError("CANCELLED", "stop"));
      yield randomBytes(6 * mebibyte);
    }
    await expect(put(key, body, { signal: abort.signal })).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await storage.stat(key, never)).toBeUndefined();
    expect(await target.leftovers()).toBe(0);
  });

  test("sends nothing under a signal that has fired", async () => {
    const key = newKey();
    const fired = AbortSignal.abort(new DocprocError("CANCELLED", "stop"));
    await expect(put(key, Buffer.from("x"), { signal: fired })).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await storage.stat(key, never)).toBeUndefined();
  });

  test("reports progress that never exceeds the size", async () => {
    let reported = 0;
    const bytes = randomBytes(12 * mebibyte);
    await put(newKey(), chunks(bytes), { onProgress: (more) => (reported += more) });
    expect(reported).toBe(bytes.length);
  });

  test("reads a range with both ends included", async () => {
    const key = newKey();
    await put(key, Buffer.from("0123456789"));
    const range = await storage.open(key, { signal: never, range: { start: 2, end: 4 } });
    expect((await buffer(range)).toString()).toBe("234");
  });

  test("refuses to open what is not there before there is a stream", async () => {
    await expect(storage.open(newKey(), { signal: never })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("answers undefined for the facts of what is not there", async () => {
    expect(await storage.stat(newKey(), never)).toBeUndefined();
  });

  test("removes an object, and succeeds in removing it again", async () => {
    const key = storageKey("", newDocumentId(), "a.txt");
    await put(key, Buffer.from("x"));
    await storage.remove(key, never);
    expect(await storage.stat(key, never)).toBeUndefined();
    await storage.remove(key, never);
  });

  test("lists every key below a prefix once, over several pages, and no sibling's", async () => {
    const prefix = `list${serial++}/`;
    const wanted = Array.from({ length: 1001 }, (_, index) => `${prefix}a/${String(index).padStart(4, "0")}/x`);
    await inTurn(wanted, (key) => put(key, Buffer.from("x")));
    await put(`${prefix}ab/x`, Buffer.from("x"));
    expect(await keys(`${prefix}a/`)).toEqual(wanted);
    expect(await keys(`${prefix}a/00`)).toEqual(wanted.filter((key) => key.includes("/00")));
    for await (const object of storage.list(`${prefix}a/`, never)) {
      expect(object.size).toBe(1);
      expect(Math.abs(object.age)).toBeLessThan(3_600_000);
      break;
    }
  }, 120_000);

  test("lists nothing below a prefix that nobody used", async () => {
    expect(await keys("nobody/uses/this/")).toEqual([]);
  });

  test("lists what a put left that was cut short, with its age, and discards it, also twice", async () => {
    const key = newKey();
    await put(newKey(), Buffer.from("whole"));
    await target.leave(key);
    const found = await leftovers();
    expect(found).toHaveLength(1);
    const [leftover] = found;
    expect(leftover?.kind).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(leftover?.name).not.toBe("");
    expect(Math.abs(leftover?.age ?? Number.NaN)).toBeLessThan(3_600_000);
    for (let time = 1; time <= 2; time++) await leftover?.discard(never);
    expect(await target.leftovers()).toBe(0);
    for await (const { name } of storage.leftovers("", never)) expect(name).toBe("nothing");
  });

  test("lists nothing that was left under keys of another prefix", async () => {
    await target.leave(`left${serial++}/a`);
    for await (const { name } of storage.leftovers(`right${serial++}/`, never)) expect(name).toBe("nothing");
    for (const leftover of await leftovers()) await leftover.discard(never);
    expect(await target.leftovers()).toBe(0);
  });

  test.each(["with space.txt", "plus+percent%41.txt", "tilde~(1)'!.txt", "a".repeat(120), "dotted..name"])(
    "takes the name %j as it is",
    async (name) => {
      const key = newKey(name);
      await put(key, Buffer.from(name));
      expect((await read(key)).toString()).toBe(name);
      expect(await keys(key)).toEqual([key]);
      expect(storage.uri(key)).toBe(`${storage.uri("")}${key}`);
      expect(storage.uri(key)).toMatch(new RegExp(`^${driver.traits.scheme}://`));
    },
  );

  test("says of an object for which catalog it was stored", async () => {
    const key = newKey();
    await put(key, Buffer.from("x"));
    expect((await storage.stat(key, never))?.catalog).toBe(catalog);
    const large = newKey();
    await put(large, chunks(randomBytes(11 * mebibyte)));
    expect((await storage.stat(large, never))?.catalog).toBe(catalog);
  });

  test("tells the objects of two catalogs apart, or takes those of one alone", async () => {
    await put(newKey(), Buffer.from("x"));
    const key = newKey();
    const putting = put(key, Buffer.from("y"), { catalog: "another-catalog" });
    if (storage.traits.shared) {
      await putting;
      expect((await storage.stat(key, never))?.catalog).toBe("another-catalog");
    } else {
      await expect(putting).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining(catalog) });
      expect(await storage.stat(key, never)).toBeUndefined();
      // One whose objects were adopted.
      await put(key, Buffer.from("y"), { catalog: "another-catalog", owns: async (other) => other === catalog });
    }
  });

  replacementConformance({
    storage: () => storage,
    leftovers: () => target.leftovers(),
    proves: () => target.checksums || !driver.traits.checksums,
    catalog,
    newKey,
    put,
    read,
  });

  describe("a signed request", () => {
    const contentType = "text/plain";
    const asked = { contentType, expiresIn: 60_000, signal: never };
    const toGet = { ...asked, method: "GET", name: "a.txt" } as const;
    const toPut = (bytes: Buffer) =>
      ({ ...asked, method: "PUT", size: bytes.length, sha256: sha256(bytes), catalog }) as const;
    const send = async ({ url, headers }: SignedRequest, init: RequestInit = {}) => {
      const response = await fetch(url, { headers, ...init });
      return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
    };

    if (!driver.traits.signs)
      return test("is refused where there are no addresses", async () => {
        const key = newKey();
        await put(key, Buffer.from("x"));
        await expect(storage.sign(key, toGet)).rejects.toMatchObject({ code: "USAGE" });
        await expect(storage.sign(newKey(), toPut(Buffer.from("x")))).rejects.toMatchObject({ code: "USAGE" });
      });

    test("reads an object, for as long as it was asked for", async () => {
      const key = newKey();
      const bytes = randomBytes(1000);
      await put(key, bytes);
      const signed = await storage.sign(key, toGet);
      expect(await send(signed)).toEqual({ status: 200, body: bytes });
      expect(signed).toMatchObject({ headers: {}, credentialsExpireAt: null });
      expect(Math.abs(signed.expiresAt.getTime() - Date.now() - 60_000)).toBeLessThan(10_000);
      await expect(storage.sign(newKey(), toGet)).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    test("stores what is lost, and never replaces what is there", async () => {
      const [key, bytes] = [newKey(), randomBytes(1000)];
      const signed = await storage.sign(key, toPut(bytes));
      const sent = { method: "PUT", body: new Uint8Array(bytes) };
      expect((await send(signed, sent)).status).toBe(200);
      expect(await read(key)).toEqual(bytes);
      expect(await storage.stat(key, never)).toMatchObject({ size: 1000, catalog });
      await expect(storage.sign(key, toPut(bytes))).rejects.toMatchObject({ code: "CONFLICT" });
      expect((await send(signed, sent)).status).toBe(412);
    });

    test("is not for more than S3 takes at once, nor where nobody looks at it", async () => {
      const large = { ...toPut(Buffer.from("x")), size: 5 * 1024 ** 3 + 1 };
      await expect(storage.sign(newKey(), large)).rejects.toMatchObject({ code: "USAGE" });
      for (const unsupported of ["no-overwrite", "tls-only-policy,checksums"]) {
        const other = await driver.open(Object.assign({}, target.settings, { unsupported }));
        await expect(other.sign(newKey(), toPut(Buffer.from("x")))).rejects.toMatchObject({ code: "USAGE" });
        await other.close();
      }
    });
  });

  test("says how far its clock is from ours", async () => {
    expect(Math.abs(await driver.clockSkew(target.settings, never))).toBeLessThan(5_000);
  });

  test("has the traits of its driver, and a place that is named", async () => {
    expect(storage.traits).toEqual(driver.traits);
    expect(driver.nameOf(target.settings).name).not.toBe("");
    expect(await driver.placeOf(target.settings)).toBe(await driver.placeOf({ ...target.settings }));
  });

  test("can be closed twice", async () => {
    const other = await driver.open(target.settings);
    await other.close();
    await other.close();
  });
}

/** In pieces of an awkward size; fails at the end with `error` when there is one. */
function chunks(bytes: Buffer, error?: Error): () => AsyncIterable<Buffer> {
  return async function* () {
    for (let at = 0; at < bytes.length; at += 100_003) yield bytes.subarray(at, at + 100_003);
    if (error) throw error;
  };
}

/** A few at a time. */
async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = items[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}
