/** A complete kind of storage: objects on shelves in the memory of this process, `memory://SHELF/KEY`. */
import { randomUUID } from "node:crypto";
import { crc32 } from "node:zlib";
import { defineDriver } from "../../../src/core/driver.ts";
import { DocprocError, throwIfCancelled } from "../../../src/core/errors.ts";
import type { Leftover } from "../../../src/core/leftover.ts";
import type {
  Body,
  CopyOptions,
  ListedObject,
  OpenOptions,
  PutOptions,
  PutResult,
  StorageService,
  StorageTraits,
  StoredObject,
} from "../../../src/storage/service.ts";
import { type ShelfSettings, shelfSettings } from "./settings.ts";

interface Held {
  readonly bytes: Buffer;
  readonly contentType: string;
  readonly catalog: string | null;
  readonly etag: string;
  readonly storedAt: number;
}

/** What is on one shelf. A test may put things there, or take them away, as another program could. */
export class Shelf {
  readonly objects = new Map<string, Held>();
  /** Keys of puts that were cut short, with the time of each. */
  readonly drafts = new Map<string, number>();

  place(key: string, bytes: Uint8Array, { contentType = "", catalog = null }: Partial<Held> = {}): void {
    const held = { bytes: Buffer.from(bytes), contentType, catalog, etag: randomUUID(), storedAt: Date.now() };
    this.objects.set(key, held);
  }
}

export const shelves = new Map<string, Shelf>();

const traits: StorageTraits = {
  resumes: false,
  rangesInFlight: 1,
  shared: true,
  checksums: true,
  signs: false,
  scheme: "memory",
};

export const shelfStorage = defineDriver<StorageService, typeof shelfSettings>({
  title: "a shelf in memory",
  traits,
  settings: shelfSettings,
  chosenBy: ["shelf"],
  isRemote: false,
  check: (settings) => void nameOf(settings),
  async open(settings) {
    const name = nameOf(settings);
    return new ShelfStorage(name, settings.shelfLimit, () => shelfOf(name));
  },
  async *provision(settings, { plan }) {
    const name = nameOf(settings);
    const exists = shelves.has(name);
    if (!exists && !plan) shelves.set(name, new Shelf());
    const action = exists ? "exists" : plan ? "would-create" : "created";
    yield { kind: "shelf", name, action, settings: { limit: settings.shelfLimit } };
  },
  async *dismantle(settings, { plan }) {
    const name = nameOf(settings);
    const shelf = shelves.get(name);
    if (shelf === undefined) {
      yield { kind: "shelf", name, action: "gone" };
      return;
    }
    if (shelf.objects.size + shelf.drafts.size > 0) {
      throw new DocprocError("CONFLICT", `The shelf ${name} holds ${shelf.objects.size} objects.`, {
        hint: "Delete its documents first.",
      });
    }
    if (!plan) shelves.delete(name);
    yield { kind: "shelf", name, action: plan ? "would-remove" : "removed" };
  },
  clockSkew: async () => 0,
  nameOf: ({ shelf = "" }) => ({ kind: "shelf", name: shelf, isPath: false }),
  placeOf: async ({ shelf, prefix }) => `memory://${shelf}/${prefix}`,
});

function nameOf({ shelf }: Pick<ShelfSettings, "shelf">): string {
  if (shelf !== undefined) return shelf;
  throw new DocprocError("INVALID_CONFIG", "Storage memory needs a shelf.", { hint: "Add --shelf NAME." });
}

function shelfOf(name: string): Shelf {
  const shelf = shelves.get(name);
  if (shelf !== undefined) return shelf;
  throw new DocprocError("NOT_INITIALISED", `There is no shelf ${name}.`, { hint: "Run docproc init." });
}

class ShelfStorage implements StorageService {
  readonly traits = traits;
  readonly #name: string;
  readonly #limit: number;
  readonly #shelf: () => Shelf;

  constructor(name: string, limit: number, shelf: () => Shelf) {
    this.#name = name;
    this.#limit = limit;
    this.#shelf = shelf;
  }

  async put(key: string, body: Body, options: PutOptions): Promise<PutResult> {
    throwIfCancelled(options.signal);
    const { drafts } = this.#shelf();
    const drafted = `${key}#${randomUUID()}`;
    drafts.set(drafted, Date.now());
    try {
      const bytes = await bytesOf(body, options);
      if (bytes.length > this.#limit) throw new DocprocError("USAGE", `${key} has more than ${this.#limit} bytes.`);
      throwIfCancelled(options.signal);
      this.#assertWritable(key, options);
      this.#shelf().place(key, bytes, options);
      return { size: bytes.length, crc32: crc32(bytes), bytesSent: bytes.length };
    } finally {
      drafts.delete(drafted);
    }
  }

  async copy(from: string, key: string, options: CopyOptions): Promise<PutResult | undefined> {
    throwIfCancelled(options.signal);
    const { objects } = this.#shelf();
    this.#assertWritable(key, options);
    const bytes = objects.get(from)?.bytes;
    if (bytes?.length !== options.size || crc32(bytes) !== options.crc32) return undefined;
    this.#shelf().place(key, bytes, options);
    return { size: bytes.length, crc32: crc32(bytes), bytesSent: 0 };
  }

  #assertWritable(key: string, { replaces }: Pick<PutOptions, "replaces">): void {
    const held = this.#shelf().objects.get(key);
    if (held?.etag === replaces?.version) return;
    throw new DocprocError("CONFLICT", `${this.uri(key)} ${held ? "exists already" : "is gone"}.`);
  }

  async open(key: string, { signal, range }: OpenOptions): Promise<AsyncIterable<Uint8Array>> {
    throwIfCancelled(signal);
    const held = this.#shelf().objects.get(key);
    if (held === undefined) throw new DocprocError("NOT_FOUND", `There is no object ${this.uri(key)}.`);
    return each([range ? held.bytes.subarray(range.start, range.end + 1) : held.bytes]);
  }

  async stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    throwIfCancelled(signal);
    const held = this.#shelf().objects.get(key);
    if (held === undefined) return undefined;
    const { bytes, catalog, contentType, etag, storedAt } = held;
    const origin = { contentType, etag, storedAt };
    return { size: bytes.length, crc32: crc32(bytes), catalog, version: etag, touched: null, origin };
  }

  list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    throwIfCancelled(signal);
    const found = [...this.#shelf().objects].filter(([key]) => key.startsWith(prefix));
    return each(found.map(([key, { bytes, storedAt }]) => ({ key, size: bytes.length, age: Date.now() - storedAt })));
  }

  leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover> {
    throwIfCancelled(signal);
    const { drafts } = this.#shelf();
    const found = [...drafts].filter(([draft]) => draft.startsWith(prefix));
    return each(
      found.map(([draft, since]) => {
        const [key = ""] = draft.split("#");
        return {
          kind: "draft",
          name: key,
          key,
          age: Date.now() - since,
          discard: async () => void drafts.delete(draft),
        };
      }),
    );
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    this.#shelf().objects.delete(key);
  }

  async sign(): Promise<never> {
    throw new DocprocError("USAGE", "A shelf in memory has no addresses that others can read.", {
      hint: "Use docproc download.",
    });
  }

  uri(key: string): string {
    return `memory://${this.#name}/${key}`;
  }

  async close(): Promise<void> {}
}

async function bytesOf(body: Body, { signal, onProgress }: PutOptions): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (;;) {
    throwIfCancelled(signal);
    const into = Buffer.from(new SharedArrayBuffer(256 * 1024));
    const { length } = await body.read(into);
    if (length === 0) return Buffer.concat(pieces);
    pieces.push(into.subarray(0, length));
    onProgress?.(length);
  }
}

async function* each<T>(items: Iterable<T>): AsyncIterable<T> {
  yield* items;
}
