import {
  BatchWriteItemCommand,
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  GetItemCommand,
  IdempotentParameterMismatchException,
  PutItemCommand,
  QueryCommand,
  ResourceNotFoundException,
  ScanCommand,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  UpdateTableCommand,
} from "@aws-sdk/client-dynamodb";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DynamoDbServer, startDynamoDbServer } from "./dynamodb-server.ts";

const TableName = "docs";
let server: DynamoDbServer;
let client: DynamoDBClient;

function createTable(extra: object = {}) {
  return client.send(
    new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        { AttributeName: "pk", AttributeType: "S" },
        { AttributeName: "sk", AttributeType: "N" },
      ],
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
      ...extra,
    }),
  );
}

const key = (pk: string) => ({ pk: { S: pk }, sk: { N: "1" } });
const put = (pk: string, value = "new"): TransactWriteItem => ({
  Put: { TableName, Item: { ...key(pk), v: { S: value } } },
});
const get = async (pk: string) =>
  (await client.send(new GetItemCommand({ TableName, Key: key(pk), ConsistentRead: true }))).Item;
const transact = (TransactItems: TransactWriteItem[], ClientRequestToken?: string) =>
  client.send(new TransactWriteItemsCommand({ TransactItems, ClientRequestToken }));

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable("the request succeeded"),
    (error: unknown) => error,
  );
}

async function cancellation(promise: Promise<unknown>): Promise<TransactionCanceledException> {
  const error = await errorOf(promise);
  expect(error).toBeInstanceOf(TransactionCanceledException);
  return error as TransactionCanceledException;
}

beforeEach(async () => {
  server = await startDynamoDbServer();
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  client = new DynamoDBClient({ endpoint: server.endpoint, region: "us-east-1", credentials, maxAttempts: 1 });
});

afterEach(async () => {
  client.destroy();
  await server.close();
  await server.close();
});

describe("transactions", () => {
  beforeEach(() => createTable());

  test("commit every kind of action", async () => {
    await client.send(new PutItemCommand({ TableName, Item: { ...key("deleted"), v: { S: "old" } } }));
    await client.send(new PutItemCommand({ TableName, Item: { ...key("updated"), n: { N: "1" } } }));
    await transact([
      put("put"),
      { Delete: { TableName, Key: key("deleted"), ConditionExpression: "attribute_exists(pk)" } },
      {
        Update: {
          TableName,
          Key: key("updated"),
          UpdateExpression: "ADD #n :one",
          ConditionExpression: "#n = :one",
          ExpressionAttributeNames: { "#n": "n" },
          ExpressionAttributeValues: { ":one": { N: "1" } },
        },
      },
      { Update: { TableName, Key: key("upserted"), UpdateExpression: "REMOVE gone" } },
      { ConditionCheck: { TableName, Key: key("absent"), ConditionExpression: "attribute_not_exists(pk)" } },
    ]);
    expect(await get("put")).toEqual({ ...key("put"), v: { S: "new" } });
    expect(await get("deleted")).toBeUndefined();
    expect(await get("updated")).toEqual({ ...key("updated"), n: { N: "2" } });
    expect(await get("upserted")).toEqual(key("upserted"));
    expect(await get("absent")).toBeUndefined();
  });

  test("roll back all of it when one condition fails, and return the old item", async () => {
    const old = { ...key("taken"), v: { S: "old" }, list: { L: [{ N: "1" }] }, blob: { B: Buffer.from([0, 255]) } };
    await client.send(new PutItemCommand({ TableName, Item: old }));
    await client.send(new PutItemCommand({ TableName, Item: { ...key("kept"), v: { S: "old" } } }));
    const absent = { ConditionExpression: "attribute_not_exists(pk)" };
    const withOld = { ...absent, ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const };
    const error = await cancellation(
      transact([
        put("first"),
        { Put: { TableName, Item: { ...key("taken"), v: { S: "new" } }, ...withOld } },
        { Delete: { TableName, Key: key("kept") } },
        { ConditionCheck: { TableName, Key: key("taken-not"), ...absent } },
        {
          Update: {
            TableName,
            Key: key("last"),
            UpdateExpression: "REMOVE x",
            ConditionExpression: "size(v) > size(pk)",
          },
        },
      ]),
    );
    expect(error.message).toBe(
      "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, None, None, ConditionalCheckFailed]",
    );
    const failed = { Code: "ConditionalCheckFailed", Message: "The conditional request failed" };
    const [first, taken, ...rest] = error.CancellationReasons ?? [];
    expect(first).toEqual({ Code: "None" });
    expect(taken).toMatchObject(failed);
    expect(taken?.Item).toEqual({ ...old, blob: { B: new Uint8Array([0, 255]) } });
    expect(rest).toEqual([{ Code: "None" }, { Code: "None" }, failed]);
    expect(error.$metadata.httpStatusCode).toBe(400);

    expect(await get("first")).toBeUndefined();
    expect((await get("taken"))?.["v"]).toEqual({ S: "old" });
    expect((await get("kept"))?.["v"]).toEqual({ S: "old" });
    expect(await get("taken-not")).toBeUndefined();
    expect(await get("last")).toBeUndefined();
  });

  test("without ALL_OLD, or without an old item, a reason has no item", async () => {
    await client.send(new PutItemCommand({ TableName, Item: key("a") }));
    const condition = { ConditionExpression: "attribute_exists(nothing)" };
    const error = await cancellation(
      transact([
        { ConditionCheck: { TableName, Key: key("a"), ...condition } },
        {
          ConditionCheck: { TableName, Key: key("b"), ...condition, ReturnValuesOnConditionCheckFailure: "ALL_OLD" },
        },
      ]),
    );
    expect(error.CancellationReasons?.map((reason) => reason.Item)).toEqual([undefined, undefined]);
  });

  test("an update that cannot be applied cancels with ValidationError", async () => {
    await client.send(new PutItemCommand({ TableName, Item: { ...key("a"), v: { S: "text" } } }));
    const ExpressionAttributeValues = { ":one": { N: "1" } };
    const error = await cancellation(
      transact([
        put("b"),
        { Update: { TableName, Key: key("a"), UpdateExpression: "ADD v :one", ExpressionAttributeValues } },
      ]),
    );
    expect(error.CancellationReasons?.map((reason) => reason.Code)).toEqual(["None", "ValidationError"]);
    expect(await get("b")).toBeUndefined();
  });

  test("of 20 concurrent ones on the same key exactly one wins", async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) =>
        transact([
          put(`other-${n}`),
          {
            Put: {
              TableName,
              Item: { ...key("race"), v: { N: `${n}` } },
              ConditionExpression: "attribute_not_exists(pk)",
            },
          },
        ]),
      ),
    );
    const winners = results.flatMap((result, n) => (result.status === "fulfilled" ? [n] : []));
    expect(winners).toHaveLength(1);
    expect((await get("race"))?.["v"]).toEqual({ N: `${winners[0]}` });
    const { Count } = await client.send(new ScanCommand({ TableName }));
    expect(Count).toBe(2);
  });

  test("no reader sees it half done, and no other write is lost in it", async () => {
    let finished = false;
    const doomed = cancellation(
      transact([
        ...Array.from({ length: 99 }, (_, n) => put(`x${n}`)),
        { ConditionCheck: { TableName, Key: key("no"), ConditionExpression: "attribute_exists(pk)" } },
      ]),
    ).finally(() => {
      finished = true;
    });
    const others: string[] = [];
    const foreign: unknown[] = [];
    for (let n = 0; !finished; n = (n + 1) % 99) {
      const Item = { ...key(`x${n}`), v: { S: "other" } };
      const write = client.send(new PutItemCommand({ TableName, Item }));
      const scan = client.send(new ScanCommand({ TableName }));
      await Promise.all([write, scan, new Promise((resolve) => setTimeout(resolve, 1))]);
      others.push(`x${n}`);
      foreign.push(...((await scan).Items ?? []).filter((item) => item["v"]?.S !== "other"));
    }
    await doomed;
    expect(foreign).toEqual([]);
    for (const pk of others) expect((await get(pk))?.["v"]).toEqual({ S: "other" });
  });

  test("a token is good for one request and its repetitions", async () => {
    const add = (by: string): TransactWriteItem => ({
      Update: {
        TableName,
        Key: key("n"),
        UpdateExpression: "ADD n :by",
        ExpressionAttributeValues: { ":by": { N: by } },
      },
    });
    await transact([add("1")], "token-1");
    await transact([add("1")], "token-1");
    expect((await get("n"))?.["n"]).toEqual({ N: "1" });
    await transact([add("1")], "token-2");
    expect((await get("n"))?.["n"]).toEqual({ N: "2" });
    const error = await errorOf(transact([add("5")], "token-1"));
    expect(error).toBeInstanceOf(IdempotentParameterMismatchException);
    expect((await get("n"))?.["n"]).toEqual({ N: "2" });
  });

  test("a cancelled transaction does not use up its token", async () => {
    const item: TransactWriteItem[] = [
      { Delete: { TableName, Key: key("late"), ConditionExpression: "attribute_exists(pk)" } },
    ];
    await cancellation(transact(item, "token"));
    await client.send(new PutItemCommand({ TableName, Item: key("late") }));
    await transact(item, "token");
    expect(await get("late")).toBeUndefined();
  });

  test("take at most 100 actions, one per item", async () => {
    await transact(Array.from({ length: 100 }, (_, n) => put(`n${n}`)));
    await expect(transact(Array.from({ length: 101 }, (_, n) => put(`m${n}`)))).rejects.toMatchObject({
      name: "ValidationException",
      message: expect.stringContaining("less than or equal to 100"),
    });
    await expect(transact([])).rejects.toMatchObject({ name: "ValidationException" });
    await expect(transact([put("a"), { Delete: { TableName, Key: key("a") } }])).rejects.toMatchObject({
      name: "ValidationException",
      message: "Transaction request cannot include multiple operations on one item",
    });
    await expect(transact([{ ...put("a"), Delete: { TableName, Key: key("b") } }])).rejects.toMatchObject({
      name: "ValidationException",
    });
    expect((await client.send(new ScanCommand({ TableName }))).Count).toBe(100);
  });

  test("a bad expression or a missing table refuses the whole request", async () => {
    const bad = { Delete: { TableName, Key: key("b"), ConditionExpression: "attribute_exists(" } };
    await expect(transact([put("a"), bad])).rejects.toMatchObject({
      name: "ValidationException",
      message: expect.stringContaining("Invalid ConditionExpression"),
    });
    const elsewhere = { Put: { TableName: "missing", Item: key("b") } };
    const error = await errorOf(transact([put("a"), elsewhere]));
    expect(error).toBeInstanceOf(ResourceNotFoundException);
    expect(await get("a")).toBeUndefined();
  });
});

describe("what dynalite does by itself", () => {
  test("single writes, batches and queries", async () => {
    await createTable();
    await client.send(new PutItemCommand({ TableName, Item: key("a") }));
    const RequestItems = { [TableName]: [{ PutRequest: { Item: key("b") } }, { DeleteRequest: { Key: key("a") } }] };
    await client.send(new BatchWriteItemCommand({ RequestItems }));
    await client.send(new UpdateItemCommand({ TableName, Key: key("b"), UpdateExpression: "SET v = pk" }));
    const { Items } = await client.send(
      new QueryCommand({
        TableName,
        KeyConditionExpression: "pk = :pk",
        ExpressionAttributeValues: { ":pk": { S: "b" } },
      }),
    );
    expect(Items).toEqual([{ ...key("b"), v: { S: "b" } }]);
    expect(await get("a")).toBeUndefined();
    expect(server.requests.map(({ operation, status }) => `${operation} ${status}`)).toEqual([
      "CreateTable 200",
      "PutItem 200",
      "BatchWriteItem 200",
      "UpdateItem 200",
      "Query 200",
      "GetItem 200",
    ]);
    expect(server.requests[1]?.body).toMatchObject({ TableName, Item: key("a") });
  });

  test("a failed condition of a single write returns the old item on request", async () => {
    await createTable();
    const Item = { ...key("a"), v: { S: "old" } };
    await client.send(new PutItemCommand({ TableName, Item }));
    const again = { TableName, Item: key("a"), ConditionExpression: "attribute_not_exists(pk)" };
    const withOld = new PutItemCommand({ ...again, ReturnValuesOnConditionCheckFailure: "ALL_OLD" });
    const error = await errorOf(client.send(withOld));
    expect(error).toBeInstanceOf(ConditionalCheckFailedException);
    expect(error).toMatchObject({ Item });
    const bare = await errorOf(client.send(new PutItemCommand(again)));
    expect(bare).toBeInstanceOf(ConditionalCheckFailedException);
    expect((bare as ConditionalCheckFailedException).Item).toBeUndefined();
  });
});

describe("tables", () => {
  const describeTable = async () => (await client.send(new DescribeTableCommand({ TableName }))).Table;
  const update = (changes: object) => client.send(new UpdateTableCommand({ TableName, ...changes }));

  test("deletion protection", async () => {
    const created = await createTable({ DeletionProtectionEnabled: true });
    expect(created.TableDescription?.DeletionProtectionEnabled).toBe(true);
    expect(await describeTable()).toMatchObject({ DeletionProtectionEnabled: true, TableStatus: "ACTIVE" });
    await expect(client.send(new DeleteTableCommand({ TableName }))).rejects.toMatchObject({
      name: "ValidationException",
      message:
        "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
    });
    const updated = await update({ DeletionProtectionEnabled: false });
    expect(updated.TableDescription).toMatchObject({ TableName, DeletionProtectionEnabled: false });
    expect((await describeTable())?.DeletionProtectionEnabled).toBe(false);
    await client.send(new DeleteTableCommand({ TableName }));
    expect(await errorOf(describeTable())).toBeInstanceOf(ResourceNotFoundException);
    expect((await createTable()).TableDescription?.DeletionProtectionEnabled).toBe(false);
  });

  test("newer parameters are accepted", async () => {
    await createTable({
      TableClass: "STANDARD",
      OnDemandThroughput: { MaxReadRequestUnits: 10, MaxWriteRequestUnits: 10 },
      SSESpecification: { Enabled: true },
      Tags: [{ Key: "a", Value: "b" }],
    });
    expect((await describeTable())?.BillingModeSummary?.BillingMode).toBe("PAY_PER_REQUEST");
    await update({ TableClass: "STANDARD_INFREQUENT_ACCESS" });
    await update({ OnDemandThroughput: { MaxReadRequestUnits: 20 } });
    await update({ SSESpecification: { Enabled: false } });
    await update({ BillingMode: "PAY_PER_REQUEST", DeletionProtectionEnabled: true });
    expect((await describeTable())?.DeletionProtectionEnabled).toBe(true);
    await expect(update({})).rejects.toMatchObject({ name: "ValidationException" });
  });

  test("updating or deleting a missing table", async () => {
    expect(await errorOf(update({ DeletionProtectionEnabled: true }))).toBeInstanceOf(ResourceNotFoundException);
    expect(await errorOf(client.send(new DeleteTableCommand({ TableName })))).toBeInstanceOf(ResourceNotFoundException);
  });

  test("tableMs keeps a new table in CREATING", async () => {
    const slow = await startDynamoDbServer({ tableMs: 300 });
    const credentials = { accessKeyId: "test", secretAccessKey: "test" };
    client.destroy();
    client = new DynamoDBClient({ endpoint: slow.endpoint, region: "us-east-1", credentials, maxAttempts: 1 });
    try {
      await createTable();
      expect((await describeTable())?.TableStatus).toBe("CREATING");
      await expect.poll(async () => (await describeTable())?.TableStatus).toBe("ACTIVE");
    } finally {
      await slow.close();
    }
  });
});
