/** Bytes that were stored long before their record: they are looked for once more, since a doctor may have been there. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import type { Step } from "../../src/core/crash-points.ts";
import { DocprocError } from "../../src/core/errors.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import type { StorageService } from "../../src/storage/service.ts";
import { openFile } from "../../src/transfer/source.ts";
import { localSettings } from "../support/aws.ts";
import { servicesOf, uploadsOf } from "../support/services.ts";

const never = new AbortController().signal;
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

let directory: string;
let storage: StorageService;
let metadata: MetadataService;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-landed-"));
  const settings = localSettings(join(directory, "library"));
  storage = await storageDrivers.local.open(settings);
  metadata = await metadataDrivers.local.open(settings);
});
afterEach(async () => {
  await metadata.close();
  await rm(directory, { recursive: true });
});

interface Course {
  /** Milliseconds that sending takes, and those between the last byte and the commit. */
  readonly sending?: number;
  readonly waiting?: number;
  readonly whileWaiting?: () => void;
  readonly whileCommitting?: () => void;
  readonly whileLooking?: () => void;
}

/** Uploads a file that is read into memory, or one that is not. The answer holds what was asked of the services. */
async function upload(size: number, course: Course) {
  let ahead = 0;
  const calls: string[] = [];
  /** The same service; something happens after some of its methods, and they leave their names. */
  const watched = <S extends object>(service: S, happens: Record<string, (() => void) | undefined>): S =>
    new Proxy(service, {
      get(target, name) {
        const method = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        if (!(String(name) in happens)) return method.bind(target);
        return async (...args: unknown[]) => {
          calls.push(String(name));
          const result = await Reflect.apply(method, target, args);
          happens[String(name)]?.();
          return result;
        };
      },
    });
  const send = () => {
    ahead += course.sending ?? 0;
  };
  const wait = (step: unknown) => {
    if ((step as Step) !== "bytes-proved") return;
    ahead += course.waiting ?? 0;
    course.whileWaiting?.();
  };
  subscribe("docproc:step", wait);
  onTestFinished(() => void unsubscribe("docproc:step", wait));
  const services = {
    storage: watched(storage, { put: send, stat: course.whileLooking }),
    metadata: watched(metadata, { commit: course.whileCommitting, remove: undefined }),
  };
  const uploads = uploadsOf(
    servicesOf(services.storage, services.metadata, () => Date.now() + ahead),
    1_000,
  );
  const path = join(directory, "a.bin");
  await writeFile(path, Buffer.alloc(size, 7));
  const source = await openFile(path);
  try {
    const outcome = await uploads
      .run(source, {
        path: "a.bin",
        facts: { contentType: undefined, metadata: undefined, expiresAt: undefined },
        detectType: async () => "application/octet-stream",
        tags: {},
        provenance: Promise.resolve(null),
        onDuplicate: "reuse",
        dryRun: false,
        signal: never,
      })
      .catch((error: unknown) => error);
    return { calls, outcome };
  } finally {
    await source.close();
  }
}

async function listed(): Promise<string[]> {
  const ids: string[] = [];
  for await (const { record } of metadata.list({ ascending: true }, never)) ids.push(record.id);
  return ids;
}

/** What a doctor does that takes them for garbage. */
const removeBytes = () => rmSync(join(directory, "library", "objects"), { recursive: true });
const gone = { code: "INTEGRITY", message: expect.stringContaining("were removed before they were recorded") };
const stored = { action: "uploaded" };

const courses: [string, Course, string[], object, number][] = [
  ["are not looked for when all went quickly", {}, ["put", "commit"], stored, 1],
  ["are not looked for before ten minutes", { waiting: 10 * minute - 30 * second }, ["put", "commit"], stored, 1],
  [
    "are looked for before the commit after ten",
    { waiting: 10 * minute + second },
    ["put", "stat", "commit"],
    stored,
    1,
  ],
  [
    "are no document when they are gone by then",
    { waiting: 10 * minute + second, whileWaiting: removeBytes },
    ["put", "stat"],
    gone,
    0,
  ],
  [
    "are not looked for when sending took not quite twelve hours",
    { sending: 12 * hour - minute },
    ["put", "commit"],
    stored,
    1,
  ],
  [
    "are looked for after the commit when it took longer",
    { sending: 12 * hour + second },
    ["put", "commit", "stat"],
    stored,
    1,
  ],
  [
    "are no document when they are gone after the commit",
    { sending: 12 * hour + second, whileCommitting: removeBytes },
    ["put", "commit", "stat", "remove"],
    gone,
    0,
  ],
  ["are looked for both times after both", { waiting: 13 * hour }, ["put", "stat", "commit", "stat"], stored, 1],
];

test.each(courses.flatMap(([what, ...course]) => [500, 5_000].map((size) => [what, size, ...course] as const)))(
  "the bytes %s (%i bytes)",
  async (_what, size, course, calls, outcome, documents) => {
    const done = await upload(size, course);
    expect(done).toMatchObject({ calls, outcome });
    expect(await listed()).toHaveLength(documents);
  },
);

test("an upload whose bytes cannot be checked after the commit fails, and succeeds when run again", async () => {
  const down = new DocprocError("UNAVAILABLE", "no answer");
  const whileLooking = () => {
    throw down;
  };
  const done = await upload(500, { sending: 13 * hour, whileLooking });
  expect(done).toEqual({ calls: ["put", "commit", "stat", "remove"], outcome: down });
  expect(await listed()).toEqual([]);
  expect(await upload(500, {})).toMatchObject({ calls: ["put", "commit"], outcome: stored });
  expect(await listed()).toHaveLength(1);
});
