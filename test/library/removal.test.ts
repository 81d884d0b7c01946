/** What is removed as garbage: nothing that an upload may be at work on, whatever the caller has found out. */
import { expect, test } from "vitest";
import { type DocumentRecord, firstIdAt } from "../../src/document/record.ts";
import { minGarbageAge, removeLeftover, removeOrphan, removePlace } from "../../src/library/removal.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import type { StorageService } from "../../src/storage/service.ts";
import { servicesOf } from "../support/services.ts";

const never = new AbortController().signal;
const now = Date.parse("2026-01-31T12:00:00Z");

/** A library that has this record, if any, and remembers what was removed from it. */
function openFake(record?: DocumentRecord) {
  const removed: string[] = [];
  const storage = { remove: async (key: string) => void removed.push(key) } as Partial<StorageService>;
  const metadata = { get: async () => record } as Partial<MetadataService>;
  const services = servicesOf(storage as StorageService, metadata as MetadataService, () => now);
  const remove = (name: string) => async () => void removed.push(name);
  return { services, removed, remove };
}

test.each([
  [0, false],
  [minGarbageAge - 1, false],
  [minGarbageAge, true],
])("garbage that is %i ms old is removed: %s", async (age, isRemoved) => {
  const { services, removed, remove } = openFake();
  const id = firstIdAt(now - age);
  const leftover = { kind: "temporary-file", name: "t", age, discard: remove("leftover") } as const;
  const place = { id, path: "a", release: remove("place") };
  expect(await removeOrphan(services, { id, key: "orphan", age }, never)).toBe(isRemoved);
  expect(await removeLeftover(leftover, never)).toBe(isRemoved);
  expect(await removePlace(services, place, never)).toBe(isRemoved);
  expect(removed).toEqual(isRemoved ? ["orphan", "leftover", "place"] : []);
});

test("an object that has a record by now is no garbage", async () => {
  const { services, removed } = openFake({} as DocumentRecord);
  const orphan = { id: firstIdAt(now), key: "orphan", age: minGarbageAge };
  expect(await removeOrphan(services, orphan, never)).toBe(false);
  expect(removed).toEqual([]);
});
