/** Many processes on one library at once: what each of them was told stays true, and nothing is there twice. */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type DocumentRecord, isDocumentId } from "../../src/document/record.ts";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { killer } from "../support/process.ts";
import { randomNumbers } from "../support/random.ts";
import { openStoredLibrary, type StoredLibrary, storedPlaces } from "../support/stored-library.ts";
import { report, soak } from "../support/sweep-report.ts";

const mebibyte = 1024 * 1024;
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const patience = { timeout: 180_000 };

/** One run of the program, as a process, and what it said. Times are milliseconds of one clock. */
interface Operation {
  readonly kind: "upload" | "list" | "show" | "download" | "delete";
  /** The document that it was about, by its id or its name. */
  readonly reference: string | undefined;
  readonly begin: number;
  readonly end: number;
  readonly status: number | string;
  readonly records: readonly DocumentRecord[];
  /** For a failure of the test. */
  readonly label: string;
}

const workers = 8;
const seed = 20_260_131;
const milliseconds = soak ? 60_000 : 10_000;

/** Files that all workers upload, so that many uploads are the same. */
const shared = Object.fromEntries([0, 700, 40_000, 200_000].map((size) => [`shared-${size}.bin`, randomBytes(size)]));

class Workers {
  readonly history: Operation[] = [];
  /** SHA-256 by name. */
  readonly digests = new Map<string, string>();
  readonly #library: StoredLibrary;
  readonly #ids: string[] = [];

  constructor(library: StoredLibrary) {
    this.#library = library;
  }

  async run(): Promise<void> {
    const { cwd } = this.#library.sandbox;
    await mkdir(join(cwd, "out"));
    for (const [name, content] of Object.entries(shared)) await this.#write(name, content);
    const until = performance.now() + milliseconds;
    await Promise.all(Array.from({ length: workers }, (_, worker) => this.#work(worker, until)));
    await this.#record("list", undefined, ["list", "--all"], "the last listing");
  }

  async #work(worker: number, until: number): Promise<void> {
    const next = randomNumbers(seed + worker);
    const pick = (from: readonly string[]): string => from[Math.floor(next() * from.length)] ?? "";
    for (let turn = 1; performance.now() < until; turn++) {
      const label = `seed ${seed}, worker ${worker}, turn ${turn}`;
      const name = pick(Object.keys(shared));
      // Of the last few, that some workers meet at the same one.
      const id = pick(this.#ids.slice(-12));
      const choice = next();
      if (choice < 0.3 || id === "") await this.#upload([name, "--tag", `build=${pick(["1", "2"])}`], label);
      else if (choice < 0.45) await this.#uploadUnique(`${worker}-${turn}.bin`, label);
      else if (choice < 0.6) await this.#record("list", undefined, ["list", "--all"], label);
      else if (choice < 0.68) await this.#record("show", id, ["show", id], label);
      else if (choice < 0.76) await this.#record("show", name, ["show", name], label);
      else if (choice < 0.84) await this.#download(id, `${worker}-${turn}`, label);
      else await this.#record("delete", id, ["delete", id, "--yes"], label);
    }
  }

  async #write(name: string, content: Buffer): Promise<void> {
    this.digests.set(name, sha256(content));
    await writeFile(join(this.#library.sandbox.cwd, name), content);
  }

  async #uploadUnique(name: string, label: string): Promise<void> {
    await this.#write(name, randomBytes(3_000));
    await this.#upload([name], label);
  }

  async #upload(argv: string[], label: string): Promise<void> {
    const { records } = await this.#record("upload", undefined, ["upload", ...argv], label);
    this.#ids.push(...records.map(({ id }) => id));
  }

  async #download(id: string, name: string, label: string): Promise<void> {
    const { status, records } = await this.#record("download", id, ["download", id, "-o", `out/${name}`], label);
    if (status !== 0) return;
    const path = join(this.#library.sandbox.cwd, "out", name);
    expect(sha256(await readFile(path)), label).toBe(this.digests.get(records[0]?.name ?? ""));
    await rm(path);
  }

  async #record(
    kind: Operation["kind"],
    reference: string | undefined,
    argv: readonly string[],
    label: string,
  ): Promise<Operation> {
    const begin = performance.now();
    const { status, stdout, stderr } = await this.#library.spawn([...argv, "--json"]);
    const end = performance.now();
    const records = status === 0 ? recordsOf(JSON.parse(stdout)) : [];
    const said = status === 0 ? "" : `: ${stderr}`;
    const operation = { kind, reference, begin, end, status, records, label: `${label}: ${argv.join(" ")}${said}` };
    this.history.push(operation);
    return operation;
  }
}

/** The records in what a command printed, without what it adds to them. */
function recordsOf(printed: { documents?: DocumentRecord[] } & DocumentRecord): DocumentRecord[] {
  return (printed.documents ?? [printed]).map((found) => {
    const {
      schema: _,
      action: __,
      bytesSent: ___,
      bytes: ____,
      reason: _____,
      file: ______,
      ...record
    } = found as DocumentRecord & Extra;
    return record;
  });
}
type Extra = { schema?: string; action?: string; bytesSent?: number; bytes?: string; reason?: string; file?: string };

/** In the order of a record. */
const fields =
  "id path name size contentType sha256 uploadedAt uri tags metadata source provenance crc32 expiresAt".split(" ");

/** Holds what every process was told against what all of them did. */
class History {
  readonly #operations: readonly Operation[];
  readonly #digests: ReadonlyMap<string, string>;
  /** As it was when its upload ended. */
  readonly #uploaded = new Map<string, DocumentRecord>();

  constructor({ history, digests }: Workers) {
    this.#operations = history;
    this.#digests = digests;
    for (const { records } of this.#of("upload")) for (const record of records) this.#uploaded.set(record.id, record);
  }

  check(): void {
    for (const operation of this.#operations) {
      for (const record of operation.records) this.#checkRecord(record, operation);
      const { kind, reference = "", status, label } = operation;
      if (kind === "upload" || kind === "list") expect(status, label).toBe(0);
      else if (isDocumentId(reference)) this.#checkOne(operation, reference);
      else this.#checkNewest(operation, reference);
      if (kind === "list") this.#checkListing(operation);
    }
  }

  #of(kind: Operation["kind"]): Operation[] {
    return this.#operations.filter((operation) => operation.kind === kind);
  }

  #removals(id: string): Operation[] {
    return this.#of("delete").filter(({ reference }) => reference === id);
  }

  #wasGone(id: string, { begin }: Operation): boolean {
    return this.#removals(id).some(({ status, end }) => status === 0 && end < begin);
  }

  /** From before the operation began until it had ended. */
  #wasThere(id: string, { begin, end }: Operation): boolean {
    const added = this.#of("upload").filter(({ records }) => records.some((record) => record.id === id));
    return added.some((one) => one.end < begin) && !this.#removals(id).some((removal) => removal.begin < end);
  }

  #checkRecord(record: DocumentRecord, { label }: Operation): void {
    expect(Object.keys(record), label).toEqual(fields);
    expect(isDocumentId(record.id), label).toBe(true);
    expect(record.sha256, label).toBe(this.#digests.get(record.name));
    expect(record, label).toEqual(this.#uploaded.get(record.id));
  }

  #checkOne(operation: Operation, id: string): void {
    const { kind, status, end, label } = operation;
    expect([0, 3], label).toContain(status);
    if (status === 0) expect(this.#wasGone(id, operation), `${label}: was removed before`).toBe(false);
    else
      expect(
        this.#removals(id).some(({ begin }) => begin < end),
        `${label}: nobody removed it`,
      ).toBe(true);
    // Whoever was too late was so because of one other.
    if (kind === "delete") expect(this.#removals(id).filter((one) => one.status === 0).length, label).toBe(1);
  }

  #checkNewest(operation: Operation, name: string): void {
    const { status, records, label } = operation;
    expect([0, 3], label).toContain(status);
    const [found] = records;
    if (found) expect(this.#wasGone(found.id, operation), `${label}: was removed before`).toBe(false);
    for (const [id, record] of this.#uploaded) {
      if (record.name !== name || !this.#wasThere(id, operation)) continue;
      expect((found?.id ?? "") >= id, `${label}: ${id} is newer`).toBe(true);
    }
  }

  #checkListing(listing: Operation): void {
    const { records, label } = listing;
    const ids = records.map(({ id }) => id);
    expect(ids, label).toEqual(ids.toSorted().reverse());
    const identities = records.map(({ name, sha256: digest, tags }) => JSON.stringify([name, digest, tags]));
    expect(new Set(identities).size, label).toBe(identities.length);
    for (const id of this.#uploaded.keys()) {
      if (this.#wasGone(id, listing)) expect(ids, `${label}: was removed before`).not.toContain(id);
      else if (this.#wasThere(id, listing)) expect(ids, `${label}: was there before`).toContain(id);
    }
  }
}

describe.each(Object.entries(storedPlaces))("with %s,", (place, startAws) => {
  let aws: InRepoAws | undefined;
  beforeAll(async () => {
    aws = await startAws?.();
  });
  afterAll(() => aws?.close());

  test("what eight processes at once are told stays true", { timeout: milliseconds + 170_000 }, async () => {
    const library = await openStoredLibrary(aws);
    const all = new Workers(library);
    await all.run();
    new History(all).check();
    // Nothing was interrupted, so nothing is left over.
    await library.expectSound("at the end", { garbage: true });
    await library.expectRepairable("a day later");
    expect(all.history.length).toBeGreaterThan(workers);
    report(`concurrency: ${all.history.length} operations of ${workers} processes at once, with ${place}`);
  });

  test.each([
    ["small", 5_000],
    ["large", 9 * mebibyte],
  ])("eight uploads of the same %s document at once make one", patience, async (_size, size) => {
    const library = await openStoredLibrary(aws);
    const content = randomBytes(size);
    await writeFile(join(library.sandbox.cwd, "a.bin"), content);
    const upload = ["upload", "a.bin", "--part-size", "5MiB", "--json"];
    const outcomes = await Promise.all(Array.from({ length: workers }, () => library.spawn(upload)));
    expect(outcomes.map(({ status }) => status)).toEqual(Array(workers).fill(0));
    const documents = outcomes.map(({ stdout }) => JSON.parse(stdout).documents[0]);
    expect(new Set(documents.map(({ id }) => id)).size).toBe(1);
    expect(documents.filter(({ action }) => action === "uploaded")).toHaveLength(1);
    expect(await library.listed()).toMatchObject([{ id: documents[0].id, sha256: sha256(content) }]);
    await library.expectSound("afterwards", { garbage: true });
  });

  describe("where time stands still and all random numbers are the same", () => {
    const sameIds = "crypto.getRandomValues = (array) => array.fill(7); Date.now = () => 1_800_000_000_000;";
    const node = ["--import", `data:text/javascript,${encodeURIComponent(sameIds)}`];
    async function open() {
      const library = await openStoredLibrary(aws);
      const upload = async (file: string, content: string) => {
        await writeFile(join(library.sandbox.cwd, file), content);
        return await library.spawn(["upload", file, "--json"], { node });
      };
      expect(await upload("a.bin", "one")).toMatchObject({ status: 0 });
      return { library, upload };
    }

    test("a document that is given the id of another is refused", patience, async () => {
      const { library, upload } = await open();
      const before = await library.listed();
      expect(await upload("b.bin", "two")).toMatchObject({ status: 5, stderr: expect.stringContaining('"CONFLICT"') });
      expect(await library.listed()).toEqual(before);
      await library.expectSound("afterwards", { garbage: true });
    });

    test("a version has an id after that of the version before it", patience, async () => {
      const { library, upload } = await open();
      const [first] = await library.listed();
      for (const content of ["two", "three"]) expect(await upload("a.bin", content)).toMatchObject({ status: 0 });
      const versions = await library.listed();
      expect(versions.map(({ sha256: digest }) => digest)).toEqual(
        ["three", "two", "one"].map((content) => sha256(Buffer.from(content))),
      );
      expect(versions[2]).toEqual(first);
      await library.expectSound("afterwards", { garbage: true });
    });
  });
});

test(
  "of two processes that go on with the same upload one does, and both end with one document",
  patience,
  async () => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const library = await openStoredLibrary(aws);
    const content = randomBytes(12 * mebibyte);
    await writeFile(join(library.sandbox.cwd, "a.bin"), content);
    const upload = ["upload", "a.bin", "--part-size", "5MiB", "--json"];
    const sent = () => aws.s3.requests.filter(({ operation }) => operation === "UploadPart").length;
    const env = { KILL_AT_STEP: "s3-part-stored", KILL_AT_NTH: "2" };
    expect(await library.spawn(upload, { node: killer, env })).toMatchObject({ status: "SIGKILL" });
    const before = sent();
    const outcomes = await Promise.all([library.spawn(upload), library.spawn(upload)]);
    expect(outcomes.map(({ status }) => status)).toEqual([0, 0]);
    const [one, other] = outcomes.map(({ stdout }) => JSON.parse(stdout).documents[0]);
    expect(one.id).toBe(other.id);
    // The third part of the one, and all three of the other, unless it came when all was done.
    expect([1, 4]).toContain(sent() - before);
    expect(await library.listed()).toMatchObject([{ id: one.id, sha256: sha256(content) }]);
    await library.expectSound("afterwards", { garbage: true });
    expect(await readdir(join(library.sandbox.state, "uploads"))).toEqual([]);
  },
);
