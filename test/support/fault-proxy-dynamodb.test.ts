import {
  CreateTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DynamoDbServer, startDynamoDbServer } from "./dynamodb-server.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";

const config = { region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId: "test", secretAccessKey: "test" } };

describe("in front of DynamoDB", () => {
  let server: DynamoDbServer;
  let proxy: FaultProxy;
  let client: DynamoDBClient;
  const TableName = "docs";
  const Item = { pk: { S: "a" } };
  const put = () => client.send(new PutItemCommand({ TableName, Item }));
  const get = async () => (await client.send(new GetItemCommand({ TableName, Key: Item }))).Item;

  beforeEach(async () => {
    server = await startDynamoDbServer();
    proxy = await startFaultProxy(server.endpoint);
    client = new DynamoDBClient({ ...config, endpoint: proxy.endpoint });
    await client.send(
      new CreateTableCommand({
        TableName,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
      }),
    );
  });

  afterEach(async () => {
    client.destroy();
    await proxy.close();
    await server.close();
  });

  test("status: a JSON error", async () => {
    const code = "ProvisionedThroughputExceededException";
    proxy.inject({ operation: "PutItem", action: { kind: "status", status: 400, code, message: "Slow down" } });
    await expect(put()).rejects.toMatchObject({ name: code, message: "Slow down" });
    expect(await get()).toBeUndefined();
    expect(proxy.log.map(({ service, operation, status }) => `${service} ${operation} ${status}`)).toEqual([
      "dynamodb CreateTable 200",
      "dynamodb PutItem 400",
      "dynamodb GetItem 200",
    ]);
  });

  test("a transaction whose reply is lost is committed, and its repetition finds that out", async () => {
    const command = () =>
      new TransactWriteItemsCommand({
        TransactItems: [{ Put: { TableName, Item, ConditionExpression: "attribute_not_exists(pk)" } }],
        ClientRequestToken: "token",
      });
    proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "lose-reply" } });
    await expect(client.send(command())).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await get()).toEqual(Item);
    await client.send(command());
  });

  test("reset, truncate and flip-byte", async () => {
    proxy.inject({ operation: "PutItem", nth: 1, action: { kind: "reset" } });
    await expect(put()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await get()).toBeUndefined();
    await put();
    proxy.inject({ operation: "GetItem", nth: 1, action: { kind: "truncate", bytes: 5 } });
    await expect(get()).rejects.toThrow();
    proxy.inject({ operation: "GetItem", nth: 1, action: { kind: "flip-byte", offset: 0, in: "reply" } });
    await expect(get()).rejects.toThrow();
    expect(await get()).toEqual(Item);
  });
});
