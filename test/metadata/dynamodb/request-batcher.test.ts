/** What is asked of DynamoDB at the same time goes together, and fares as if it had gone alone. */
import { setMaxListeners } from "node:events";
import type { ServerResponse } from "node:http";
import type { BatchGetItemCommand, DynamoDBClient, Put, TransactWriteItemsCommand } from "@aws-sdk/client-dynamodb";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Settings } from "../../../src/core/settings.ts";
import { type DocumentRecord, newDocumentId } from "../../../src/document/record.ts";
import { DynamoDbMetadata } from "../../../src/metadata/dynamodb/catalog.ts";
import { toItem } from "../../../src/metadata/dynamodb/documents.ts";
import { absentHead } from "../../../src/metadata/dynamodb/heads.ts";
import { toText, versionOf } from "../../../src/metadata/dynamodb/versions.ts";
import { metadataDrivers } from "../../../src/metadata/registry.ts";
import type { MetadataService, Standing } from "../../../src/metadata/service.ts";
import { awsEndpoints, awsSettings } from "../../support/aws.ts";
import { type Item, itemBytes, startMeter } from "../../support/dynamodb-meter.ts";
import { type FaultRule, startFaultProxy } from "../../support/fault-proxy.ts";
import { entryWith, recordWith } from "../conformance.ts";

const never = new AbortController().signal;
setMaxListeners(0, never);

const records = (count: number) => Array.from({ length: count }, () => recordWith());
/** As an upload commits that found nothing at the path: so a commit reads nothing. */
const commitOne = (metadata: MetadataService, record: DocumentRecord, signal = never) =>
  metadata.commit(entryWith(record), { unlessThere: true, seen: nothingAt(record.path) }, signal);
const nothingAt = (path: string): Standing => ({
  newest: undefined,
  twin: undefined,
  last: undefined,
  state: { head: absentHead(path), older: undefined },
});
const commitAll = async (metadata: MetadataService, all: readonly DocumentRecord[], signal = never) =>
  await Promise.allSettled(all.map((record) => commitOne(metadata, record, signal)));
const getAll = async (metadata: MetadataService, all: readonly DocumentRecord[]) =>
  (await Promise.all(all.map(({ id }) => metadata.get(id, never)))).map((entry) => entry?.record.id);
const committed = { status: "fulfilled", value: { committed: true } };
const idsOf = (all: readonly DocumentRecord[]) => all.map(({ id }) => id);

for (const [place, start] of Object.entries(awsEndpoints())) {
  describe(`on ${place}`, () => {
    async function open(overrides: Partial<Settings> = {}) {
      const aws = await start();
      onTestFinished(() => aws.close());
      const proxy = await startFaultProxy(aws.endpoint);
      onTestFinished(() => proxy.close());
      const meter = await startMeter(proxy.endpoint);
      onTestFinished(() => meter.close());
      const settings = awsSettings(meter.endpoint, overrides);
      const options = { plan: false, signal: never };
      for await (const _ of metadataDrivers.dynamodb.provision(settings, options));
      const metadata = await metadataDrivers.dynamodb.open(settings);
      onTestFinished(() => metadata.close());
      // Once a process.
      await metadata.catalog(never);
      proxy.log.length = 0;
      meter.start();
      const sent = (operation: string) => proxy.log.filter((request) => request.operation === operation).length;
      return { proxy, meter, metadata, sent };
    }

    test("many at once take few requests, as many units, and one alone takes what it took", async () => {
      const { meter, metadata } = await open();
      const all = records(200);
      expect(await getAll(metadata, all)).toEqual(all.map(() => undefined));
      expect(meter.read()).toMatchObject({ requests: { BatchGetItem: 2 }, readUnits: 200 });
      meter.start();
      expect(await commitAll(metadata, all)).toEqual(all.map(() => committed));
      expect(meter.read()).toMatchObject({ requests: { TransactWriteItems: 4 }, writeUnits: 800, readUnits: 0 });
      meter.start();
      expect(await getAll(metadata, all)).toEqual(idsOf(all));
      expect(meter.read()).toMatchObject({ requests: { BatchGetItem: 2 }, readUnits: 200 });
      meter.start();
      const [first] = all;
      const same = Array.from({ length: 50 }, () => first ?? recordWith());
      expect(await getAll(metadata, same)).toEqual(idsOf(same));
      expect(await commitAll(metadata, [recordWith()])).toEqual([committed]);
      expect(meter.read().requests).toEqual({ GetItem: 1, TransactWriteItems: 1 });
    }, 120_000);

    test("a commit whose path has changed is decided again, and the others go on without it", async () => {
      const { metadata, sent } = await open();
      const [first, second] = [recordWith(), recordWith()];
      await commitAll(metadata, [first, second]);
      const before = sent("TransactWriteItems");
      const late = [first, second].map(({ path, sha256 }) => recordWith({ path, sha256 }));
      const all = [...late.slice(0, 1), ...records(20), ...late.slice(1)];
      const results = await commitAll(metadata, all);
      const there = (record: DocumentRecord) => ({ committed: false, there: entryWith(record) });
      expect(results.at(0)).toEqual({ status: "fulfilled", value: there(first) });
      expect(results.at(-1)).toEqual({ status: "fulfilled", value: there(second) });
      expect(results.slice(1, -1)).toEqual(all.slice(1, -1).map(() => committed));
      expect(sent("TransactWriteItems") - before).toBe(2);
      expect(await getAll(metadata, late)).toEqual([undefined, undefined]);
    });

    test("an error instead of an answer leaves each in doubt, and nothing is there", async () => {
      const { proxy, metadata, sent } = await open({ retries: 0 });
      const all = records(7);
      proxy.inject({ operation: "TransactWriteItems", action: { kind: "status", status: 500 } });
      const results = await commitAll(metadata, all);
      expect(results).toMatchObject(all.map(() => ({ status: "rejected", reason: { code: "UNAVAILABLE" } })));
      expect(sent("TransactWriteItems")).toBe(1);
      expect(await getAll(metadata, all)).toEqual(all.map(() => undefined));
    });

    test("an answer that is lost leaves each in doubt, and all of it is there", async () => {
      const { proxy, metadata, sent } = await open({ retries: 0 });
      const all = records(7);
      proxy.inject({ operation: "TransactWriteItems", action: { kind: "lose-reply" } });
      const results = await commitAll(metadata, all);
      expect(results).toMatchObject(all.map(() => ({ status: "rejected", reason: { code: "UNAVAILABLE" } })));
      expect(sent("TransactWriteItems")).toBe(1);
      expect(await getAll(metadata, all)).toEqual(idsOf(all));
    });

    test("a group that is repeated because its answer was lost meets its own success", async () => {
      const { proxy, metadata } = await open();
      const all = records(7);
      proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "lose-reply" } });
      for (const [index, result] of (await commitAll(metadata, all)).entries()) {
        // An emulator that forgets the token says that each is there.
        const own = { committed: false, there: entryWith(all[index] as DocumentRecord) };
        expect([committed.value, own]).toContainEqual(result.status === "fulfilled" ? result.value : result.reason);
      }
      expect(await getAll(metadata, all)).toEqual(idsOf(all));
    });

    test("what is wrong with a group as a whole is looked for in each alone", async () => {
      const { proxy, metadata, sent } = await open();
      const all = records(5);
      const refused = (nth: number): FaultRule => ({
        operation: "TransactWriteItems",
        nth,
        action: { kind: "status", status: 400, code: "ValidationException" },
      });
      proxy.inject(refused(1));
      proxy.inject(refused(3));
      const results = await commitAll(metadata, all);
      expect(results.filter(({ status }) => status === "rejected")).toMatchObject([{ reason: { code: "INTERNAL" } }]);
      expect(sent("TransactWriteItems")).toBe(1 + all.length);
      expect(await getAll(metadata, all)).toEqual(
        all.map(({ id }, index) => (results[index]?.status === "fulfilled" ? id : undefined)),
      );
    });

    test("a commit that meets another transaction is retried, and no other commit waits for it", async () => {
      const { proxy, metadata, sent } = await open();
      const random = vi.spyOn(Math, "random").mockReturnValue(0.99);
      onTestFinished(() => random.mockRestore());
      const all = records(5);
      const busy = (codes: readonly string[]) => (response: ServerResponse) => {
        const CancellationReasons = codes.map((Code) => ({ Code }));
        const body = JSON.stringify({ __type: "x#TransactionCanceledException", CancellationReasons, Message: "no" });
        response.writeHead(400, { "content-type": "application/x-amz-json-1.0" }).end(body);
      };
      const free = ["None", "None"];
      const codes = [...free, "TransactionConflict", "None", ...free, ...free, "None", "ThrottlingError"];
      proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "answer", reply: busy(codes) } });
      const order: number[] = [];
      const commits = all.map(async (record, index) => {
        const result = await commitOne(metadata, record);
        order.push(index);
        return result;
      });
      expect(await Promise.all(commits)).toEqual(all.map(() => committed.value));
      expect(order.slice(0, 3)).toEqual([0, 2, 3]);
      // The group, those that are left of it, and each of the two that had to wait.
      expect(sent("TransactWriteItems")).toBe(4);
    });
  });
}

/** A catalog on a client in place of one that asks somebody. */
function answering(
  send: (command: never, options: { abortSignal: AbortSignal }) => Promise<object>,
  overrides: Partial<Settings> = {},
): DynamoDbMetadata {
  const client = {
    // A table without an entry of its own is no older one.
    send: async (command: Command, options: never) =>
      isOfCatalog(command) ? {} : await send(command as never, options),
  };
  return new DynamoDbMetadata(client as unknown as DynamoDBClient, "t", awsSettings("", overrides));
}

type Command = { readonly input: { readonly Key?: Item } };
const isOfCatalog = ({ input }: Command) => input.Key?.["pk"]?.S === "catalog";
const putsOf = ({ input }: TransactWriteItemsCommand) =>
  (input.TransactItems ?? []).map(({ Put }) => (Put as Put).Item as Item);
const keysOf = ({ input }: BatchGetItemCommand) => input.RequestItems?.["t"]?.Keys ?? [];

test("a transaction holds at most a hundred items and four megabytes, and no item twice", async () => {
  const sent: Item[][] = [];
  const metadata = answering(async (command) => {
    sent.push(putsOf(command));
    return {};
  });
  // Each is some hundred kilobytes as it is stored.
  const large = Array.from({ length: 100 }, () => recordWith({ metadata: { long: "\u0001".repeat(16_000) } }));
  const same = Array.from({ length: 3 }, () => recordWith({ path: "same" }));
  const id = newDocumentId();
  const twins = ["one", "other"].map((path) => recordWith({ id, path }));
  const all = [...same, ...twins, ...large, ...records(120)];
  expect(await commitAll(metadata, all)).toEqual(all.map(() => committed));
  for (const items of sent) {
    expect(items.length).toBeLessThanOrEqual(100);
    expect(items.reduce((sum, item) => sum + itemBytes(item), 0)).toBeLessThanOrEqual(4_000_000);
    expect(new Set(items.map(({ pk, sk }) => `${pk?.S} ${sk?.S}`)).size).toBe(items.length);
  }
  expect(sent.flat()).toHaveLength(2 * all.length);
  expect(sent.length).toBeLessThan(8);
});

test("reads that are left unprocessed are asked for again, those that are not there are not", async () => {
  const all = records(8);
  const asked: number[] = [];
  const metadata = answering(async (command) => {
    const keys = keysOf(command);
    asked.push(keys.length);
    const left = keys.slice(3);
    // Of three that are looked at, the last is not there.
    const heads = keys.slice(0, 2).map((key) => ({ ...key, entries: { S: "" }, pages: { N: "0" } }));
    return { Responses: { t: heads }, UnprocessedKeys: left.length > 0 ? { t: { Keys: left } } : {} };
  });
  const found = await Promise.all(all.map(({ path }) => metadata.lookUp({ path, given: {} }, undefined, never)));
  expect(found.map(({ last }) => last)).toEqual(all.map(() => undefined));
  expect(asked).toEqual([8, 5, 2]);
});

test("reads that stay unprocessed fail, and never return missing documents", async () => {
  const metadata = answering(
    async (command) => ({ Responses: { t: [] }, UnprocessedKeys: { t: { Keys: keysOf(command) } } }),
    { retries: 1 },
  );
  const results = await Promise.allSettled(records(3).map(({ id }) => metadata.get(id, never)));
  expect(results).toMatchObject(results.map(() => ({ status: "rejected", reason: { code: "UNAVAILABLE" } })));
});

test("an aborted read fails at once, and the request ends with the last of its reads", async () => {
  const request: { signal?: AbortSignal; answer?: (answer: object) => void } = {};
  const metadata = answering(
    (_, { abortSignal }) =>
      new Promise((resolve, reject) => {
        Object.assign(request, { signal: abortSignal, answer: resolve });
        abortSignal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      }),
  );
  const interruptions = Array.from({ length: 3 }, () => new AbortController());
  const lastOf = async (path: string, signal: AbortSignal) =>
    (await metadata.lookUp({ path, given: {} }, undefined, signal)).last;
  const read = () => interruptions.map((one, index) => lastOf(`path ${index}`, one.signal));
  const { id, sha256 } = recordWith();
  const head = { entries: { S: toText([versionOf(id, { of: "another series" }, sha256)]) }, pages: { N: "0" } };
  const cancelled = { code: "CANCELLED" };

  const [first, second, third] = read();
  await expect.poll(() => request.signal).toBeDefined();
  interruptions[0]?.abort();
  await expect(first).rejects.toMatchObject(cancelled);
  expect(request.signal?.aborted).toBe(false);
  request.answer?.({
    Responses: { t: [{ pk: { S: "path#path 1" }, sk: { S: "head" }, ...head }] },
  });
  expect(await Promise.all([second, third])).toEqual([id, undefined]);

  interruptions[0] = new AbortController();
  delete request.signal;
  const again = read();
  await expect.poll(() => request.signal).toBeDefined();
  const waiting = lastOf("another", never);
  for (const one of interruptions) one.abort();
  for (const one of again) await expect(one).rejects.toMatchObject(cancelled);
  // What waited for it goes on its way.
  await expect.poll(() => request.signal?.aborted).toBe(false);
  request.answer?.({ Item: head });
  expect(await waiting).toBe(id);
});

test("an aborted commit that is queued fails at once; one that is sent is awaited", async () => {
  const sent: Item[][] = [];
  let answer = () => {};
  const metadata = answering(async (command) => {
    sent.push(putsOf(command));
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
    return {};
  });
  const interruption = new AbortController();
  const commit = (record: DocumentRecord, signal: AbortSignal) => commitOne(metadata, record, signal);
  const wired = records(2).map((record) => commit(record, interruption.signal));
  await expect.poll(() => sent).toHaveLength(1);
  const waiting = records(2).map((record) => commit(record, interruption.signal));
  const others = records(2).map((record) => commit(record, never));
  interruption.abort();
  for (const one of waiting) await expect(one).rejects.toMatchObject({ code: "CANCELLED" });
  answer();
  expect(await Promise.all(wired)).toEqual([committed.value, committed.value]);
  await expect.poll(() => sent).toHaveLength(2);
  answer();
  expect(await Promise.all(others)).toEqual([committed.value, committed.value]);
  expect(sent.map((items) => items.length)).toEqual([4, 4]);
});

test("an aborted commit is not part of the retry of its group", async () => {
  const sent: Item[][] = [];
  const interruption = new AbortController();
  const other = entryWith(recordWith());
  const metadata = answering(async (command) => {
    sent.push(putsOf(command));
    if (sent.length > 1) return {};
    interruption.abort();
    const { TransactionCanceledException } = await import("@aws-sdk/client-dynamodb");
    const CancellationReasons = ["None", "None", "None", "None", "ConditionalCheckFailed", "None"].map((Code) => ({
      Code,
      ...(Code === "None" ? {} : { Item: toItem(other) }),
    }));
    throw new TransactionCanceledException({ message: "no", CancellationReasons, $metadata: {} });
  });
  const signals = [interruption.signal, never, never];
  const results = await Promise.allSettled(
    records(3).map((record, index) => commitOne(metadata, record, signals[index] ?? never)),
  );
  expect(results).toMatchObject([
    { reason: { code: "CANCELLED" } },
    committed,
    { value: { committed: false, there: other } },
  ]);
  expect(sent.map((items) => items.length)).toEqual([6, 2]);
});
