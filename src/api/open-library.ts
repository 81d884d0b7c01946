/** Implements library.ts on the services that the options choose. */
import { Readable } from "node:stream";
import { type ConfigInput, loadConfig, unknownKey } from "../config/config.ts";
import { assertAgreed } from "../config/consent.ts";
import { drivers, isUsed, type SettingName, settingNames, settingTable } from "../config/settings.ts";
import { duration } from "../config/values.ts";
import { choosingSettings } from "../core/driver.ts";
import { cancelled, DocprocError, toDocprocError } from "../core/errors.ts";
import type { Settings } from "../core/settings.ts";
import { detectedType } from "../document/detected-type.ts";
import { frozenRecord } from "../document/frozen.ts";
import { documentPath, nameOfPath } from "../document/path.ts";
import { commitPrefix, folderFilter, listOrder, parseTime, type Selection, sha256Prefix } from "../document/query.ts";
import { contentType, type DocumentRecord, documentMetadata, documentTags } from "../document/record.ts";
import { parseExpiry } from "../document/time.ts";
import { DocumentLibrary } from "../library/library.ts";
import { expiryOf } from "../library/sign.ts";
import type { Stats } from "../library/stats.ts";
import { tagEdit } from "../library/tag.ts";
import { Destination } from "../transfer/destination.ts";
import { openInput } from "./given-source.ts";
import type {
  CallOptions,
  Chunks,
  CopiedRecord,
  CopyOptions,
  Damage,
  DeletedRecord,
  DownloadOptions,
  FilterOptions,
  Library,
  LibraryOptions,
  ListOptions,
  RegisteredRecord,
  RegisterOptions,
  Resource,
  SignedUrl,
  TaggedRecord,
  TagOptions,
  UploadedRecord,
  UploadOptions,
  UrlOptions,
  VerifyOptions,
} from "./library.ts";

/** What a library needs to know about its process. */
export interface Surroundings extends Omit<ConfigInput, "flags" | "file"> {
  /** Permission bits that new files do not get. */
  readonly umask: number;
}

/**
 * Opens a library. Sends and creates nothing.
 * @throws INVALID_CONFIG
 */
export async function openLibraryIn(options: LibraryOptions, surroundings: Surroundings): Promise<Library> {
  const settings = await settingsFrom(options, surroundings);
  const library = new DocumentLibrary(settings, { now: Date.now, debug() {} });
  // Invalid settings fail now, not at the first upload.
  library.check();
  return new OpenLibrary(library, surroundings);
}

async function settingsFrom(options: LibraryOptions, surroundings: Surroundings): Promise<Settings> {
  const { config, ...given } = options;
  for (const key of Object.keys(given)) {
    if (!settingNames.some((name) => name === key)) throw unknownKey("The argument of openLibrary()", key);
  }
  const asked = config === true || typeof config === "string";
  const file = typeof config === "string" ? config : undefined;
  const input = { ...surroundings, flags: given, file, files: asked, nameOf: (name: string) => `the option ${name}` };
  const { settings, origins, projectUse } = await loadConfig(input);
  assertAgreed(projectUse);
  if (asked) return settings;
  const isDefault = (name: SettingName) => origins.some((one) => one.name === name && one.origin === "default");
  // A program must not land in the user's own library by mistake.
  const places = settingNames.filter((name) => settingTable[name]?.isPlace && settingTable[name].isPath);
  if (places.some((name) => isUsed(name, settings) && isDefault(name))) {
    const options = choosingSettings(drivers.storage).map((name) => `{ ${name} }`);
    throw new DocprocError("INVALID_CONFIG", "openLibrary() needs to know where the library is.", {
      hint: `Pass ${options.join(" or ")}, or { config: true } for the library of the command line.`,
    });
  }
  return { ...settings, resume: settings.resume && !isDefault("stateDirectory") };
}

class OpenLibrary implements Library {
  readonly #library: DocumentLibrary;
  readonly #surroundings: Surroundings;
  #closed = false;

  constructor(library: DocumentLibrary, surroundings: Surroundings) {
    this.#library = library;
    this.#surroundings = surroundings;
  }

  async init(options: CallOptions = {}): Promise<Resource[]> {
    return await this.#call(options, async (library, signal) => {
      const resources: Resource[] = [];
      for await (const { kind, name, action } of library.provision({ plan: false, signal })) {
        resources.push({ kind, name, action: action as Resource["action"] });
      }
      return resources;
    });
  }

  async upload(given: Parameters<Library["upload"]>[0], options: UploadOptions = {}): Promise<UploadedRecord> {
    return await this.#call(options, async (library, signal) => {
      const { tags, metadata, onProgress, onDuplicate = library.settings.onDuplicate } = options;
      const type = options.contentType === undefined ? undefined : contentType(options.contentType);
      const request = {
        tags: documentTags(pairs("tag", tags)),
        facts: {
          contentType: type,
          metadata: metadata === undefined ? undefined : documentMetadata(pairs("metadata", metadata)),
          expiresAt: expiryOption(options.expires),
        },
        // A program knows better where its documents come from than its working directory does.
        provenance: Promise.resolve(null),
        onDuplicate,
        dryRun: false,
        signal,
        ...(onProgress && { onProgress }),
      };
      const source = await openInput(given);
      try {
        const given = options.path ?? source.name;
        if (given === "") {
          throw new DocprocError("USAGE", "A document that does not come from a file needs a path.", {
            hint: "Pass { path }.",
          });
        }
        const path = documentPath(given, "path");
        const document = await library.upload(source, {
          ...request,
          path,
          detectType: async (head) => await detectedType(nameOfPath(path), head),
        });
        // Only a dry run leaves fields unknown.
        return frozenRecord(document as UploadedRecord);
      } finally {
        await source.close();
      }
    });
  }

  async *list(options: ListOptions = {}): AsyncIterable<DocumentRecord> {
    const { after, limit = Number.POSITIVE_INFINITY, ascending = false, sort = "time" } = options;
    if (!(limit >= 1) || (limit !== Number.POSITIVE_INFINITY && !Number.isInteger(limit))) {
      throw new DocprocError("USAGE", `The limit ${String(limit)} is not a whole number above 0.`, {
        hint: "Omit it to get all documents.",
      });
    }
    const query = {
      ...listOrder("sort", sort, ascending),
      ...selectionOf(options),
      after,
      expected: limit === Number.POSITIVE_INFINITY ? undefined : limit,
    };
    const records = await this.#call(options, (library, signal) => library.list(query, signal));
    let count = 0;
    try {
      for await (const record of records) {
        yield frozenRecord(record);
        if (++count === limit) return;
      }
    } catch (error) {
      throw toDocprocError(error);
    }
  }

  async get(reference: string, options: CallOptions = {}): Promise<DocumentRecord> {
    return await this.#call(options, async (library, signal) => frozenRecord(await library.find(reference, signal)));
  }

  async read(document: string | DocumentRecord, options: CallOptions = {}): Promise<Readable> {
    return await this.#call(options, async (library, signal) => {
      const record = await found(library, document, signal);
      const bytes = library.read(record, signal)[Symbol.asyncIterator]();
      // A missing object must fail before a stream exists, and with it half a response to a client.
      const first = await bytes.next();
      return Readable.from(holdBackLast(first, bytes), { objectMode: false });
    });
  }

  async download(document: string | DocumentRecord, { to, force = false, ...options }: DownloadOptions) {
    return await this.#call(options, async (library, signal) => {
      const record = await found(library, document, signal);
      const { cwd, umask } = this.#surroundings;
      const destination = await Destination.open({ cwd, output: to, several: false, umask });
      try {
        const received = await destination.receive(record, () => library.read(record, signal), {
          force,
          hidden: document === record.path,
          umask,
          signal,
          onProgress: options.onProgress ?? (() => {}),
        });
        return frozenRecord({ ...record, ...received });
      } finally {
        destination.close();
      }
    });
  }

  async delete(document: string | DocumentRecord, options: CallOptions = {}): Promise<DeletedRecord> {
    return await this.#call(options, async (library, signal) => {
      const record = await ownRecord(library, document, signal);
      return frozenRecord({ ...record, ...(await library.remove(record, signal)) });
    });
  }

  async tag(document: string | DocumentRecord, options: TagOptions): Promise<TaggedRecord> {
    return await this.#call(options, async (library, signal) => {
      const { set, unset = [] } = options ?? {};
      if (!Array.isArray(unset)) {
        throw new DocprocError("USAGE", "The tags to remove are not a list.", { hint: 'Pass { unset: ["key"] }.' });
      }
      const edit = tagEdit(documentTags(pairs("tag", set)), unset);
      return frozenRecord(await library.tag(await ownRecord(library, document, signal), edit, signal));
    });
  }

  async url(document: string | DocumentRecord, options: UrlOptions = {}): Promise<SignedUrl> {
    return await this.#call(options, async (library, signal) => {
      const { method = "GET", expiresIn = "15m" } = options ?? {};
      if (method !== "GET" && method !== "PUT") {
        throw new DocprocError("USAGE", `${JSON.stringify(method)} is not a method of a link.`, {
          hint: "Pass GET to read the document, or PUT to restore its bytes.",
        });
      }
      const expiry = expiryOf(duration(expiresIn), String(expiresIn));
      const record = await ownRecord(library, document, signal);
      const signed = await library.sign(record, { method, expiresIn: expiry, signal });
      const { url, headers, expiresAt, credentialsExpireAt } = signed;
      const mayExpireEarlier = credentialsExpireAt === "unknown";
      const { id, path } = record;
      return { id, path, method, url, headers, expiresAt: expiresAt.toISOString(), mayExpireEarlier };
    });
  }

  async stats(options: FilterOptions = {}): Promise<Stats> {
    return await this.#call(options, async (library, signal) => await library.stats(selectionOf(options), signal));
  }

  async verify(document: string | DocumentRecord, options: VerifyOptions = {}): Promise<Damage | undefined> {
    return await this.#call(options, async (library, signal) => {
      const { deep = false, onProgress = () => {} } = options ?? {};
      return await library.verify(await ownRecord(library, document, signal), { deep, signal, onProgress });
    });
  }

  async copy(document: string | DocumentRecord, options: CopyOptions): Promise<CopiedRecord> {
    return await this.#call(options, async (library, signal) => {
      const { to } = options ?? {};
      if (!(to instanceof OpenLibrary)) {
        throw new DocprocError("USAGE", "No library was named to copy to or from.", {
          hint: "Pass { to }, a library from openLibrary().",
        });
      }
      return await to.#call(options, async (other) => {
        await other.assertApartFrom(library, signal);
        const record = await ownRecord(library, document, signal);
        const { onProgress = () => {} } = options;
        const copying = { dryRun: false, signal, onProgress, onSkipped() {} };
        // Only a dry run leaves fields unknown.
        return frozenRecord((await other.copyFrom(library, record, copying)) as CopiedRecord);
      });
    });
  }

  async register(uri: string, options: RegisterOptions = {}): Promise<RegisteredRecord> {
    return await this.#call(options, async (library, signal) => {
      const { path, contentType: type, tags, metadata, onProgress = () => {}, onDuplicate } = options ?? {};
      const document = await library.register(String(uri), {
        path,
        contentType: type === undefined ? undefined : contentType(type),
        tags: documentTags(pairs("tag", tags)),
        documentMetadata: documentMetadata(pairs("metadata", metadata)),
        onDuplicate: onDuplicate ?? library.settings.onDuplicate,
        signal,
        onBegin: () => onProgress,
      });
      return frozenRecord(document);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#library.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs a call, and converts every error to a DocprocError. */
  async #call<T>(options: CallOptions, run: (library: DocumentLibrary, signal: AbortSignal) => Promise<T>): Promise<T> {
    // JavaScript may pass null.
    const { signal } = options ?? {};
    try {
      if (this.#closed) throw new DocprocError("USAGE", "The library is closed.", { hint: "Open it again." });
      // A signal of its own: each request adds a listener, and Node warns of more than ten.
      return await run(this.#library, AbortSignal.any(signal ? [signal] : []));
    } catch (error) {
      const failure = toDocprocError(error);
      throw signal?.aborted && failure.code === "CANCELLED" ? cancelled(signal) : failure;
    }
  }
}

async function found(
  library: DocumentLibrary,
  document: string | DocumentRecord,
  signal: AbortSignal,
): Promise<DocumentRecord> {
  return typeof document === "string" ? await library.find(document, signal) : document;
}

/** The library's own record: one from elsewhere may have the same id, and an older one other tags. */
async function ownRecord(
  library: DocumentLibrary,
  document: string | DocumentRecord,
  signal: AbortSignal,
): Promise<DocumentRecord> {
  return typeof document === "string" ? await library.find(document, signal) : await library.get(document.id, signal);
}

/**
 * Yields each chunk when the next has arrived: the last one is held back until all bytes are verified, so that a
 * consumer that knows the size does not accept damaged bytes.
 */
async function* holdBackLast(first: IteratorResult<Uint8Array>, rest: AsyncIterator<Uint8Array>): Chunks {
  try {
    let held = first;
    while (!held.done) {
      const next = await rest.next();
      yield held.value;
      held = next;
    }
  } catch (error) {
    throw toDocprocError(error);
  } finally {
    await rest.return?.();
  }
}

/** `key=value` pairs, as on the command line. */
function pairs(kind: string, map: Readonly<Record<string, string>> = {}): string[] {
  return Object.entries(map).map(([key, value]) => {
    if (key !== "" && !key.includes("=") && typeof value === "string") return `${key}=${value}`;
    throw new DocprocError("USAGE", `The ${kind} ${JSON.stringify(key)} is invalid.`, {
      hint: "Keys are text without =, and values are text.",
    });
  });
}

/** The part of a query that selects documents. */
function selectionOf(options: FilterOptions): Pick<Selection, "since" | "until" | "filter" | "latest"> {
  const { tags, tagKeys, notTags, under, path, name, type, since, until, sha256, branch, commit, run, latest } =
    options;
  return {
    since: timeOf("since", since),
    until: timeOf("until", until),
    filter: {
      tags: documentTags(pairs("tag", tags)),
      tagKeys: tagKeys?.map((key) => key.normalize("NFC")),
      notTags: notTags?.map(({ key, value }) => ({ key: key.normalize("NFC"), value: value?.normalize("NFC") })),
      under: under === undefined ? undefined : folderFilter("under", under),
      path,
      name,
      type,
      sha256: sha256 === undefined ? undefined : sha256Prefix(sha256),
      branch: branch?.normalize("NFC"),
      commit: commit === undefined ? undefined : commitPrefix(commit),
      run: run?.normalize("NFC"),
    },
    latest,
  };
}

function expiryOption(expires: Date | string | undefined): string | undefined {
  if (expires === undefined) return undefined;
  const text = expires instanceof Date ? new Date(timeOf("expires", expires) ?? 0).toISOString() : expires;
  return parseExpiry("expires", text, Date.now());
}

function timeOf(option: string, time: Date | string | undefined): number | undefined {
  if (time === undefined) return undefined;
  if (typeof time === "string") return parseTime(option, time, Date.now());
  if (!Number.isNaN(time.getTime())) return time.getTime();
  throw new DocprocError("USAGE", `${option} is not a time.`, { hint: "Pass a Date, or text such as 7d." });
}
