/**
 * Many processes upload versions of one path, tag and delete them: every answer is held against the one sentence that
 * decides an upload. A document is there if the newest one at its path that was uploaded with these tags has its bytes.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { InRepoAws } from "../support/aws.ts";
import { randomNumbers } from "../support/random.ts";
import { openStoredLibrary, type StoredLibrary, storedPlaces } from "../support/stored-library.ts";
import { report, soak } from "../support/sweep-report.ts";

const workers = 8;
const seed = 20_261_130;
const milliseconds = soak ? 60_000 : 10_000;
const contents = ["v1", "v2"];
const series = [[], ["--tag", "build=1"]];

/** An upload and its answer. Times are milliseconds of one clock. */
interface Upload {
  readonly content: string;
  readonly series: string;
  readonly begin: number;
  readonly end: number;
  readonly id: string;
  readonly action: string;
  /** For a failure of the test. */
  readonly label: string;
}

/** A version, from the upload that made it to its deletion. */
interface Version {
  readonly id: string;
  readonly content: string;
  readonly series: string;
  /** It was made at some time between these two. */
  readonly begin: number;
  readonly end: number;
  /** It was deleted at some time between these two; infinity when it was not. */
  readonly deletionBegin: number;
  readonly deletionEnd: number;
}

class Workers {
  readonly uploads: Upload[] = [];
  readonly deletions = new Map<string, { begin: number; end: number }>();
  readonly #library: StoredLibrary;
  readonly #ids: string[] = [];
  tagged = 0;

  constructor(library: StoredLibrary) {
    this.#library = library;
  }

  async run(): Promise<void> {
    for (const content of contents) {
      await mkdir(join(this.#library.sandbox.cwd, content));
      await writeFile(join(this.#library.sandbox.cwd, content, "app.bin"), content);
    }
    const until = performance.now() + milliseconds;
    await Promise.all(Array.from({ length: workers }, (_, worker) => this.#work(worker, until)));
  }

  async #work(worker: number, until: number): Promise<void> {
    const next = randomNumbers(seed + worker);
    for (let turn = 0; performance.now() < until; turn++) {
      const label = `seed ${seed}, worker ${worker}, turn ${turn}`;
      const id = this.#ids.at(-1 - Math.floor(next() * 4));
      const choice = next();
      if (choice < 0.75 || id === undefined) {
        await this.#upload(contents[turn % 2] ?? "", series[Math.floor(next() * series.length)] ?? [], label);
      } else if (choice < 0.88) await this.#delete(id, label);
      else await this.#tag(id, `seen=${worker}-${turn}`, label);
    }
  }

  async #upload(content: string, tags: readonly string[], label: string): Promise<void> {
    const begin = performance.now();
    const { status, stdout, stderr } = await this.#library.spawn(["upload", `${content}/app.bin`, ...tags, "--json"]);
    const end = performance.now();
    expect(status, `${label}: ${stderr}`).toBe(0);
    const [{ id, action }] = JSON.parse(stdout).documents;
    this.uploads.push({ content, series: tags.join(" "), begin, end, id, action, label });
    if (action === "uploaded") this.#ids.push(id);
  }

  async #delete(id: string, label: string): Promise<void> {
    if (this.deletions.has(id)) return;
    const begin = performance.now();
    this.deletions.set(id, { begin, end: Number.POSITIVE_INFINITY });
    const { status, stderr } = await this.#library.spawn(["delete", id, "--yes"]);
    expect(status, `${label}: ${stderr}`).toBe(0);
    this.deletions.set(id, { begin, end: performance.now() });
  }

  async #tag(id: string, tag: string, label: string): Promise<void> {
    const { status, stderr } = await this.#library.spawn(["tag", id, tag]);
    // It may be deleted by then.
    expect([0, 3], `${label}: ${stderr}`).toContain(status);
    this.tagged += status === 0 ? 1 : 0;
  }
}

/** Every version that was ever there. */
function versionsOf({ uploads, deletions }: Workers): Version[] {
  return uploads
    .filter(({ action }) => action === "uploaded")
    .map(({ id, content, series, begin, end }) => {
      const deletion = deletions.get(id);
      const never = Number.POSITIVE_INFINITY;
      const [deletionBegin, deletionEnd] = deletion ? [deletion.begin, deletion.end] : [never, never];
      return { id, content, series, begin, end, deletionBegin, deletionEnd };
    })
    .sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** Whether a version was there during a whole upload. */
function wasThere(version: Version, { begin, end }: Upload): boolean {
  return version.end < begin && version.deletionBegin > end;
}

/** Whether a version may have been there at some time of an upload. */
function mayHaveBeenThere(version: Version, { begin, end }: Upload): boolean {
  return version.begin < end && version.deletionEnd > begin;
}

function check(all: Workers): void {
  const versions = versionsOf(all);
  expect(new Set(versions.map(({ id }) => id)).size).toBe(versions.length);
  for (const upload of all.uploads) {
    const { id, action, content, label } = upload;
    const others = versions.filter((version) => version.series === upload.series && version.id !== id);
    if (action === "uploaded") {
      // It must not have been there all the time as the newest.
      const same = others.filter((version) => version.content === content && wasThere(version, upload));
      const needless = same.filter(
        (version) => !others.some((later) => later.id > version.id && mayHaveBeenThere(later, upload)),
      );
      expect(needless, `${label}: stored ${id} beside one that was there`).toEqual([]);
      continue;
    }
    expect(["unchanged", "restored"], label).toContain(action);
    const found = versions.find((version) => version.id === id);
    expect(found, `${label}: ${id} was never uploaded`).toMatchObject({ content, series: upload.series });
    expect(found && mayHaveBeenThere(found, upload), `${label}: ${id} was not there`).toBe(true);
    const newer = others.filter((version) => version.id > id && wasThere(version, upload));
    expect(newer, `${label}: ${id} was not the newest`).toEqual([]);
  }
  // Two neighbours have equal bytes only if what was between them, or the first, was deleted.
  for (const name of new Set(versions.map((version) => version.series))) {
    const own = versions.filter((version) => version.series === name);
    for (const [index, version] of own.entries()) {
      const before = own[index - 1];
      if (before?.content !== version.content) continue;
      expect(before.deletionBegin, `${version.id} repeats ${before.id}`).toBeLessThan(version.end);
    }
  }
}

describe.each(Object.entries(storedPlaces))("with %s,", (place, startAws) => {
  let aws: InRepoAws | undefined;
  beforeAll(async () => {
    aws = await startAws?.();
  });
  afterAll(() => aws?.close());

  test("eight processes that upload versions of one path are told the truth", {
    timeout: milliseconds + 170_000,
  }, async () => {
    const library = await openStoredLibrary(aws);
    const all = new Workers(library);
    await all.run();
    check(all);
    const left = versionsOf(all).filter(({ id }) => !all.deletions.has(id));
    expect((await library.listed()).map(({ id }) => id).sort()).toEqual(left.map(({ id }) => id));
    await library.expectSound("at the end", { garbage: true, edited: true });
    const stored = all.uploads.filter(({ action }) => action === "uploaded").length;
    expect(stored).toBeGreaterThan(2);
    expect(all.uploads.length).toBeGreaterThan(stored);
    const counts = `${all.uploads.length} uploads, ${stored} stored, ${all.deletions.size} deletions, ${all.tagged} tags`;
    report(`versions: ${counts} of ${workers} processes in ${milliseconds / 1000} s, with ${place}`);
  });
});
