import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { text as readText } from "node:stream/consumers";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { crc32 } from "node:zlib";

export interface DynamoDbServerOptions {
  /** How long tables stay CREATING, UPDATING or DELETING. 0, the default: the next request sees the final state. */
  tableMs?: number;
}

export interface DynamoDbRequest {
  operation: string;
  body: unknown;
  /** 0 until the reply is known. */
  status: number;
}

export interface DynamoDbServer {
  endpoint: string;
  /** Every request in order of arrival. */
  requests: DynamoDbRequest[];
  close(): Promise<void>;
}

// dynalite ships no types; this is the part of its interface that is used here.
type Dynalite = (options: { createTableMs: number; updateTableMs: number; deleteTableMs: number }) => Server;
const dynalite = createRequire(import.meta.url)("dynalite") as Dynalite;

type Item = Record<string, unknown>;
type Kind = "Put" | "Delete" | "Update" | "ConditionCheck";
type Text = "TableName" | "ConditionExpression" | "UpdateExpression" | "ReturnValuesOnConditionCheckFailure";
type ActionInput = Partial<Record<Text, string> & Record<"Key" | "Item", Item>>;
type Input = ActionInput & {
  TransactItems?: Partial<Record<Kind, ActionInput>>[];
  ClientRequestToken?: string;
  DeletionProtectionEnabled?: boolean;
};
type Table = {
  TableName: string;
  TableStatus: string;
  KeySchema: { AttributeName: string }[];
  DeletionProtectionEnabled?: boolean;
};
type Output = { __type?: string; message?: string; Item?: Item; Table?: Table; TableDescription?: Table };
type Reply = { status: number; headers: string[]; body: string };
type Action = { kind: Kind; input: ActionInput; table: string; key: Item; old: Item | undefined };

// ConditionCheck: only an update without changes makes dynalite evaluate a condition on its own.
const OPERATIONS = { Put: "PutItem", Delete: "DeleteItem", Update: "UpdateItem", ConditionCheck: "UpdateItem" };
const KINDS = Object.keys(OPERATIONS) as Kind[];

// What DynamoDB finds out only while it applies an action, and therefore reports as a reason of the cancellation:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const VALIDATION_ERROR_REASON =
  /not match the schema|Missing the key|[Tt]ype mismatch|incorrect data type|maximum allowed size|document path|refers to an attribute that does not exist|secondary index key/;

const UPDATES_OF_DYNALITE = ["BillingMode", "ProvisionedThroughput", "GlobalSecondaryIndexUpdates"];
const UPDATES_ADDED = ["DeletionProtectionEnabled", "OnDemandThroughput", "TableClass", "SSESpecification"];

function jsonReply(status: number, output: object): Reply {
  const body = JSON.stringify(output);
  const headers = ["Content-Type", "application/x-amz-json-1.0", "Content-Length", String(Buffer.byteLength(body))];
  headers.push("x-amzn-RequestId", randomUUID(), "x-amz-crc32", String(crc32(body)));
  return { status, headers, body };
}

function failure(code: string, message: string): Reply {
  return jsonReply(400, { __type: `com.amazonaws.dynamodb.v20120810#${code}`, message });
}

function parse(reply: Reply): Output {
  return JSON.parse(reply.body) as Output;
}

function failedWith(reply: Reply, code: string): boolean {
  return reply.status === 400 && parse(reply).__type?.endsWith(`#${code}`) === true;
}

class Refusal extends Error {
  readonly reply: Reply;
  constructor(reply: Reply) {
    super(reply.body);
    this.reply = reply;
  }
}

function invalid(message: string): Refusal {
  return new Refusal(failure("ValidationException", message));
}

/** Ordinary requests run side by side; an exclusive one waits for those before it and holds up those after it. */
function createGate() {
  let lastExclusive: Promise<unknown> = Promise.resolve();
  const running = new Set<Promise<unknown>>();
  return {
    shared<T>(work: () => Promise<T>): Promise<T> {
      const run = lastExclusive.then(work);
      const settled: Promise<unknown> = run.catch(() => undefined).finally(() => running.delete(settled));
      running.add(settled);
      return run;
    },
    exclusive<T>(work: () => Promise<T>): Promise<T> {
      const run = Promise.all([lastExclusive, ...running]).then(work);
      lastExclusive = run.catch(() => undefined);
      return run;
    },
  };
}

function parseActions(items: Input["TransactItems"] = []): { kind: Kind; input: ActionInput }[] {
  if (items.length < 1 || items.length > 100) {
    const bound = items.length < 1 ? "greater than or equal to 1" : "less than or equal to 100";
    const path = `Value '[${items.length} actions]' at 'transactItems'`;
    throw invalid(
      `1 validation error detected: ${path} failed to satisfy constraint: Member must have length ${bound}`,
    );
  }
  return items.map((item) => {
    const [kind, another] = KINDS.filter((candidate) => item[candidate] !== undefined);
    const input = kind && item[kind];
    if (!input || another) throw invalid("TransactItems can only contain one of Check, Put, Update or Delete");
    const required = { Update: "UpdateExpression", ConditionCheck: "ConditionExpression" } as const;
    if ((kind === "Update" || kind === "ConditionCheck") && input[required[kind]] === undefined) {
      throw invalid(`1 validation error detected: ${kind} without ${required[kind]}: Member must not be null`);
    }
    return { kind, input };
  });
}

async function listen(server: Server): Promise<number> {
  // The SDK keeps connections open, and a server that drops an idle one makes its next request fail.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

export async function startDynamoDbServer(options: DynamoDbServerOptions = {}): Promise<DynamoDbServer> {
  const { tableMs = 0 } = options;
  const backend = dynalite({ createTableMs: tableMs, updateTableMs: tableMs, deleteTableMs: tableMs });
  const backendPort = await listen(backend);
  const agent = new Agent({ keepAlive: true });
  const gate = createGate();
  const protectedTables = new Set<string>();
  const completed = new Map<string, unknown>();
  const requests: DynamoDbRequest[] = [];

  function send(method: string, path: string, headers: string[], body: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const target = { host: "127.0.0.1", port: backendPort, agent, method, path, headers };
      const outgoing = request(target, (response) => {
        const { statusCode: status = 500, rawHeaders } = response;
        readText(response).then((text) => resolve({ status, headers: rawHeaders, body: text }), reject);
      });
      outgoing.on("error", reject).end(body);
    });
  }

  function call(operation: string, input: object): Promise<Reply> {
    const body = JSON.stringify(input);
    const headers = ["Host", "localhost", "X-Amz-Target", `DynamoDB_20120810.${operation}`];
    headers.push("Content-Type", "application/x-amz-json-1.0", "Content-Length", String(Buffer.byteLength(body)));
    // dynalite looks only at the form of the signature.
    headers.push("Authorization", "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=a", "X-Amz-Date", "a");
    return send("POST", "/", headers, body);
  }

  async function locate(kind: Kind, input: ActionInput): Promise<Action> {
    const { TableName: table = "" } = input;
    const described = await call("DescribeTable", { TableName: table });
    const schema = parse(described).Table?.KeySchema;
    if (!schema) {
      const missing = failedWith(described, "ResourceNotFoundException");
      throw new Refusal(missing ? failure("ResourceNotFoundException", "Requested resource not found") : described);
    }
    const source = (kind === "Put" ? input.Item : input.Key) ?? {};
    const names = schema.map((element) => element.AttributeName).filter((name) => name in source);
    const key = Object.fromEntries(names.map((name) => [name, source[name]]));
    // A key that does not fit the table finds nothing here, and the action itself is refused for it later.
    const found = await call("GetItem", { TableName: table, Key: key, ConsistentRead: true });
    return { kind, input, table, key, old: parse(found).Item };
  }

  async function restore({ table, key, old }: Action): Promise<void> {
    const target = { TableName: table };
    const reply = await (old ? call("PutItem", { ...target, Item: old }) : call("DeleteItem", { ...target, Key: key }));
    if (reply.status !== 200) throw new Error(`cannot restore an item of ${table}: ${reply.body}`);
  }

  async function transact({ TransactItems: items, ClientRequestToken: token }: Input): Promise<Reply> {
    const parsed = parseActions(items);
    if (token !== undefined && completed.has(token)) {
      if (isDeepStrictEqual(completed.get(token), items)) return jsonReply(200, {});
      const message = "The request uses the same client token as a previous, but non-identical request";
      return failure("IdempotentParameterMismatchException", message);
    }
    const actions: Action[] = [];
    for (const { kind, input } of parsed) actions.push(await locate(kind, input));
    if (new Set(actions.map(({ table, key }) => JSON.stringify([table, key]))).size < actions.length) {
      throw invalid("Transaction request cannot include multiple operations on one item");
    }

    const applied: Action[] = [];
    const reasons: { Code: string; Message?: string; Item?: Item }[] = [];
    let refusal: Reply | undefined;
    for (const action of actions) {
      const reply = await call(OPERATIONS[action.kind], action.input);
      const { message: Message = "" } = parse(reply);
      if (reply.status === 200) {
        applied.push(action);
        reasons.push({ Code: "None" });
      } else if (failedWith(reply, "ConditionalCheckFailedException")) {
        const wanted = action.input.ReturnValuesOnConditionCheckFailure === "ALL_OLD" && action.old;
        reasons.push({ Code: "ConditionalCheckFailed", Message, ...(wanted ? { Item: wanted } : {}) });
      } else if (failedWith(reply, "ValidationException") && VALIDATION_ERROR_REASON.test(Message)) {
        reasons.push({ Code: "ValidationError", Message });
      } else {
        refusal = reply;
        break;
      }
    }

    const failed = applied.length < actions.length;
    // A check of an absent item made that item, so checks are undone in any case.
    for (const action of applied) if (failed || action.kind === "ConditionCheck") await restore(action);
    if (refusal) return refusal;
    if (failed) {
      const codes = reasons.map((reason) => reason.Code).join(", ");
      return jsonReply(400, {
        __type: "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        CancellationReasons: reasons,
        Message: `Transaction cancelled, please refer cancellation reasons for specific reasons [${codes}]`,
      });
    }
    if (token !== undefined) completed.set(token, items);
    return jsonReply(200, {});
  }

  /** dynalite does not know ReturnValuesOnConditionCheckFailure. */
  async function writeReturningOld(operation: string, input: Input, forward: () => Promise<Reply>): Promise<Reply> {
    const { old } = await locate(operation === "PutItem" ? "Put" : "Update", input);
    const reply = await forward();
    if (!old || !failedWith(reply, "ConditionalCheckFailedException")) return reply;
    return jsonReply(reply.status, { ...parse(reply), Item: old });
  }

  function withProtection(reply: Reply): Reply {
    if (reply.status !== 200) return reply;
    const output = parse(reply);
    const table = output.Table ?? output.TableDescription;
    if (table) table.DeletionProtectionEnabled = protectedTables.has(table.TableName);
    return jsonReply(reply.status, output);
  }

  async function updateTable(input: Input, forward: () => Promise<Reply>): Promise<Reply> {
    const has = (name: string) => name in input;
    // dynalite drops the members it does not know and then refuses an update with nothing in it.
    if (UPDATES_OF_DYNALITE.some(has) || !UPDATES_ADDED.some(has)) return forward();
    const reply = await call("DescribeTable", { TableName: input.TableName });
    return reply.status === 200 ? jsonReply(200, { TableDescription: parse(reply).Table }) : reply;
  }

  async function changeTable(operation: string, input: Input, forward: () => Promise<Reply>): Promise<Reply> {
    const { TableName: table = "", DeletionProtectionEnabled: protection } = input;
    if (operation === "DeleteTable" && protectedTables.has(table)) {
      const reason = "Resource cannot be deleted as it is currently protected against deletion.";
      throw invalid(`${reason} Disable deletion protection first.`);
    }
    const reply = await (operation === "UpdateTable" ? updateTable(input, forward) : forward());
    if (reply.status !== 200) return reply;
    if (protection === true) protectedTables.add(table);
    else if (protection === false || operation !== "UpdateTable") protectedTables.delete(table);
    for (let settled = tableMs > 0; !settled; await nextTurn()) {
      const { Table } = parse(await call("DescribeTable", { TableName: table }));
      settled = !Table || Table.TableStatus === "ACTIVE";
    }
    return withProtection(reply);
  }

  function handle(operation: string, input: Input, forward: () => Promise<Reply>): Promise<Reply> {
    if (operation === "TransactWriteItems") return gate.exclusive(() => transact(input));
    if (operation === "DescribeTable") return gate.shared(async () => withProtection(await forward()));
    if (/^(Create|Update|Delete)Table$/.test(operation)) {
      return gate.exclusive(() => changeTable(operation, input, forward));
    }
    if (/^(Put|Update|Delete)Item$/.test(operation) && input.ReturnValuesOnConditionCheckFailure === "ALL_OLD") {
      return gate.exclusive(() => writeReturningOld(operation, input, forward));
    }
    return gate.shared(forward);
  }

  async function answer(incoming: IncomingMessage): Promise<Reply> {
    const { method = "GET", url = "/", rawHeaders } = incoming;
    const text = await readText(incoming);
    const operation = String(incoming.headers["x-amz-target"] ?? method).replace(/^.*\./, "");
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      body = undefined; // for dynalite to refuse
    }
    const entry: DynamoDbRequest = { operation, body, status: 0 };
    requests.push(entry);
    const input = typeof body === "object" && body !== null ? body : {};
    const reply = await handle(operation, input, () => send(method, url, rawHeaders, text)).catch((error: unknown) =>
      error instanceof Refusal ? error.reply : jsonReply(500, { __type: "InternalServerError", message: `${error}` }),
    );
    entry.status = reply.status;
    return reply;
  }

  const server = createServer((incoming, response) => {
    answer(incoming).then(
      (reply) => response.writeHead(reply.status, reply.headers).end(reply.body),
      () => response.destroy(), // the client went away before its request was complete
    );
  });
  const port = await listen(server);
  async function shutDown(): Promise<void> {
    await stop(server);
    // dynalite throws when a connection breaks under a request.
    await gate.exclusive(async () => agent.destroy());
    await stop(backend);
  }
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= shutDown());
  return { endpoint: `http://127.0.0.1:${port}`, requests, close };
}
