/** What requests to DynamoDB cost, counted by a proxy: the emulators do not charge, and some do not even count. */
import { Agent, request } from "node:http";
import { buffer } from "node:stream/consumers";
import { listen } from "./forward.ts";

export type Value = { readonly S?: string; readonly N?: string };
export type Item = Readonly<Record<string, Value>>;

export interface Meter {
  readonly endpoint: string;
  /** Resets the counters. */
  start(): void;
  read(): Reading;
  close(): void;
}

export interface Reading {
  /** Requests by operation. */
  readonly requests: Readonly<Record<string, number>>;
  readonly readUnits: number;
  readonly writeUnits: number;
  /** Read units as the emulator reports them; where it reports none at all, the one that is paid at least. */
  readonly reportedUnits: number;
}

interface Answer {
  readonly Items?: readonly Item[];
  readonly Item?: Item;
  readonly Responses?: Readonly<Record<string, readonly Item[]>>;
  readonly UnprocessedKeys?: RequestItems;
  readonly ConsumedCapacity?: Capacity | readonly Capacity[];
}
type Capacity = { readonly CapacityUnits?: number };
type RequestItems = Readonly<Record<string, { readonly Keys: readonly Item[] }>>;
type Action = { readonly Item?: Item; readonly Key?: Item };
interface Input {
  readonly TransactItems?: readonly Readonly<Partial<Record<"Put" | "Delete" | "ConditionCheck", Action>>>[];
  readonly Item?: Item;
  readonly Key?: Item;
  readonly RequestItems?: RequestItems;
}

/**
 * Bytes of an item, of which there are only texts and numbers here.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
 */
export function itemBytes(item: Item): number {
  const bytes = ({ S, N }: Value) => (S === undefined ? Math.ceil((N ?? "").length / 2) + 1 : Buffer.byteLength(S));
  return Object.entries(item).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + bytes(value), 0);
}

/**
 * Strongly consistent reads: one unit for each 4 KiB of what an answer is made of, and one for nothing at all.
 * Writes: one unit for each KiB of an item, in a transaction two.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
 */
const readUnits = (bytes: number) => Math.max(1, Math.ceil(bytes / 4096));
const writeUnits = (bytes: number) => Math.max(1, Math.ceil(bytes / 1024));

function read(operation: string, { RequestItems = {} }: Input, answer: Answer): number {
  const { Item, Items = Item ? [Item] : [], Responses = {}, UnprocessedKeys = {} } = answer;
  if (operation === "BatchGetItem") {
    // Of a batch, each item for itself, and one that is not there as well.
    const count = (keys: RequestItems) => sum(Object.values(keys).map(({ Keys }) => Keys.length));
    const found = Object.values(Responses).flat();
    const absent = count(RequestItems) - count(UnprocessedKeys) - found.length;
    return sum(found.map(itemBytes).map(readUnits)) + absent;
  }
  return readOperations.has(operation) ? readUnits(sum(Items.map(itemBytes))) : 0;
}

const readOperations = new Set(["Query", "GetItem", "BatchGetItem", "Scan"]);

/**
 * Stands in front of an endpoint for S3 and DynamoDB.
 * @param sizeOf bytes of the item that a key names, for what is deleted or changed; gets an item or its key
 */
export async function startMeter(target: string, sizeOf: (key: Item) => number = () => 0): Promise<Meter> {
  const agent = new Agent({ keepAlive: true });
  let reading: Reading;
  const start = () => {
    reading = { requests: {}, readUnits: 0, writeUnits: 0, reportedUnits: 0 };
  };
  start();

  const account = (operation: string, input: Input, answer: Answer) => {
    const { requests } = reading;
    const reported = [answer.ConsumedCapacity ?? []].flat().map(({ CapacityUnits = 0 }) => CapacityUnits || 1);
    // An item that is replaced costs what the larger of the two would.
    const put = (item: Item) => Math.max(itemBytes(item), sizeOf(item));
    const written = (input.TransactItems ?? []).map(({ Put, Delete, ConditionCheck }) =>
      Put?.Item ? put(Put.Item) : sizeOf(Delete?.Key ?? ConditionCheck?.Key ?? {}),
    );
    reading = {
      requests: { ...requests, [operation]: (requests[operation] ?? 0) + 1 },
      readUnits: reading.readUnits + read(operation, input, answer),
      writeUnits:
        reading.writeUnits +
        sum(written.map((bytes) => 2 * writeUnits(bytes))) +
        (operation === "PutItem" && input.Item ? writeUnits(put(input.Item)) : 0) +
        (operation === "UpdateItem" && input.Key ? writeUnits(sizeOf(input.Key)) : 0),
      reportedUnits: reading.reportedUnits + sum(reported),
    };
  };

  const server = await listen(async (incoming, outgoing) => {
    const body = await buffer(incoming);
    const operation = /^DynamoDB_\w+\.(\w+)$/.exec(String(incoming.headers["x-amz-target"]))?.[1];
    const input = operation ? JSON.parse(body.toString()) : undefined;
    // The product has no use for the report, and the emulators verify no signature.
    const isRead = operation !== undefined && readOperations.has(operation);
    const asked = isRead ? Buffer.from(JSON.stringify({ ...input, ReturnConsumedCapacity: "TOTAL" })) : body;
    const { "transfer-encoding": _, ...headers } = incoming.headers;
    const options = { method: incoming.method, agent, headers: { ...headers, "content-length": asked.length } };
    const forwarded = request(new URL(incoming.url ?? "/", target), options, async (reply) => {
      const answer = await buffer(reply);
      if (operation && reply.statusCode === 200) account(operation, input, JSON.parse(answer.toString()));
      outgoing.writeHead(reply.statusCode ?? 500, reply.headers).end(answer);
    });
    forwarded.on("error", () => outgoing.destroy()).end(asked);
  });
  return {
    endpoint: server.endpoint,
    start,
    read: () => reading,
    close() {
      server.close();
      agent.destroy();
    },
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
