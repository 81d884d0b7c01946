/** Reading DynamoDB in pages, where no emulator does what DynamoDB may do. */
import type { AttributeValue, BatchGetItemCommand, DynamoDBClient, QueryCommand } from "@aws-sdk/client-dynamodb";
import { v7 } from "uuid";
import { expect, test } from "vitest";
import { documentKey } from "../../../src/metadata/dynamodb/documents.ts";
import { listDocuments, readDocuments } from "../../../src/metadata/dynamodb/listing.ts";
import type { Item } from "../../../src/metadata/dynamodb/reads.ts";

const never = new AbortController().signal;

/** A client in place of one that asks somebody. */
function answering(send: (command: never, options: { abortSignal: AbortSignal }) => Promise<object>): DynamoDBClient {
  return { send } as unknown as DynamoDBClient;
}

const idsOf = async (items: AsyncIterable<Item>) => {
  const ids: string[] = [];
  for await (const { sk } of items) ids.push(sk?.S ?? "");
  return ids;
};

/** Three keys a request: the others are left unprocessed, as under load. */
function threeAtATime(asked: number[]) {
  return answering(async ({ input }: BatchGetItemCommand) => {
    const keys = input.RequestItems?.["t"]?.Keys ?? [];
    asked.push(keys.length);
    const left = keys.slice(3);
    return {
      Responses: { t: keys.slice(0, 3).reverse() },
      UnprocessedKeys: left.length > 0 ? { t: { Keys: left } } : {},
    };
  });
}

test("documents that are left unprocessed are asked for again, and come in order", async () => {
  const ids = Array.from({ length: 8 }, () => v7());
  const asked: number[] = [];
  expect(await idsOf(readDocuments(threeAtATime(asked), "t", ids, { retries: 2 }, never))).toEqual(ids);
  expect(asked).toEqual([8, 5, 2]);
});

test("a table that goes on leaving documents unprocessed is too busy, not smaller", async () => {
  const ids = Array.from({ length: 8 }, () => v7());
  const reading = idsOf(readDocuments(threeAtATime([]), "t", ids, { retries: 1 }, never));
  await expect(reading).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("too busy") });
});

/** Answers every page after a while, with as many items as it is asked for, and says what it was asked. */
function endless(asked: { limit: number | undefined; signal: AbortSignal }[], fail?: (n: number) => boolean) {
  return answering(async ({ input }: QueryCommand, { abortSignal }) => {
    const n = asked.push({ limit: input.Limit, signal: abortSignal });
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (fail?.(n)) throw new Error("no more");
    const values = input.ExpressionAttributeValues as Record<string, AttributeValue>;
    const Items = Array.from({ length: input.Limit ?? 4096 }, () => ({ pk: values[":pk"], ...documentKey(v7()) }));
    return { Items, LastEvaluatedKey: documentKey(v7()) };
  });
}

test("pages double from the expected size until they are full, and reading everything starts with full ones", async () => {
  const limits = async (expected: number | undefined, count: number) => {
    const asked: { limit: number | undefined; signal: AbortSignal }[] = [];
    let left = count;
    for await (const _ of listDocuments(endless(asked), "t", { ascending: true, expected }, never)) {
      left -= 1;
      if (left === 0) break;
    }
    return [...new Set(asked.map(({ limit }) => limit))];
  };
  expect(await limits(51, 8)).toEqual([12]);
  expect(await limits(51, 60_000)).toEqual([12, 24, 48, 96, 192, 384, 768, 1536, 3072, undefined]);
  expect(await limits(2, 1)).toEqual([2]);
  expect(await limits(undefined, 100)).toEqual([undefined]);
});

test("an abandoned listing requests nothing more and drops its pending requests", async () => {
  const asked: { limit: number | undefined; signal: AbortSignal }[] = [];
  for await (const _ of listDocuments(endless(asked), "t", { ascending: true }, never)) break;
  expect(asked).toHaveLength(16);
  expect(asked.every(({ signal }) => signal.aborted)).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(asked).toHaveLength(16);
});

test("a page that was asked for ahead and failed fails the listing where it is needed, and not before", async () => {
  const asked: { limit: number | undefined; signal: AbortSignal }[] = [];
  let seen = 0;
  const reading = (async () => {
    for await (const _ of listDocuments(
      endless(asked, (n) => n > 8),
      "t",
      { ascending: true },
      never,
    )) {
      seen += 1;
      // Longer than the answer takes.
      if (seen === 1) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  await expect(reading).rejects.toThrow("no more");
  expect(seen).toBeGreaterThan(0);
});
