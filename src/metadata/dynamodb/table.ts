/** The table: on demand (an idle table costs nothing) and protected against deletion. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  CreateTableCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  ResourceInUseException,
  ResourceNotFoundException,
  type TableDescription,
  UpdateTableCommand,
} from "@aws-sdk/client-dynamodb";
import { skewOf } from "../../aws/client.ts";
import { errorNameOf } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { ProvisionAction, ProvisionedResource, ProvisionOptions } from "../../core/resources.ts";
import { assertOwnLayout } from "./catalog-item.ts";
import { tableFailure } from "./failures.ts";
import type { DynamodbSettings } from "./settings.ts";

/** Milliseconds. Creating a table takes seconds; the SDK's waiter polls every 20 s. */
const pollInterval = 500;
const pollDeadline = 180_000;

const keySchema = [
  { AttributeName: "pk", KeyType: "HASH" },
  { AttributeName: "sk", KeyType: "RANGE" },
] as const;
const wanted = {
  KeySchema: [...keySchema],
  AttributeDefinitions: keySchema.map(({ AttributeName }) => ({ AttributeName, AttributeType: "S" as const })),
  BillingMode: "PAY_PER_REQUEST" as const,
};
const protection = { DeletionProtectionEnabled: true };

export async function* provisionTable(
  client: DynamoDBClient,
  name: string,
  settings: DynamodbSettings,
  options: ProvisionOptions,
): AsyncIterable<ProvisionedResource> {
  const table = new Table(client, name, settings, options.signal);
  const made = await makeTable(table, options, () => assertOwnLayout(client, name, settings, options.signal));
  yield { kind: "table", name, action: made, settings: { Region: await client.config.region(), ...wanted } };
  const kind = "deletion-protection";
  yield { kind, name, action: await protect(table, kind, made, settings, options), settings: protection };
}

/**
 * Milliseconds by which DynamoDB's clock is ahead of ours, from a request about the table.
 * @throws NOT_INITIALISED, ACCESS_DENIED and any other problem with the table or the connection
 */
export async function clockSkew(
  client: DynamoDBClient,
  table: string,
  settings: DynamodbSettings,
  abortSignal: AbortSignal,
): Promise<number> {
  try {
    await client.send(new DescribeTableCommand({ TableName: table }), { abortSignal });
  } catch (error) {
    throw tableFailure(error, "dynamodb:DescribeTable", table, settings);
  }
  return skewOf(client) ?? 0;
}

async function makeTable(
  table: Table,
  { plan }: ProvisionOptions,
  assertReadable: () => Promise<void>,
): Promise<ProvisionAction> {
  const existing = await table.describe();
  if (existing) {
    table.assertOurs(existing);
    // A table that is being made or removed cannot be read.
    if (["ACTIVE", "UPDATING"].includes(existing.TableStatus ?? "")) await assertReadable();
    if (!plan) await table.untilActive();
    return "exists";
  }
  if (plan) return "would-create";
  const created = await table.create();
  await table.untilActive();
  return created ? "created" : "exists";
}

async function protect(
  table: Table,
  kind: string,
  made: ProvisionAction,
  { unsupported }: DynamodbSettings,
  { plan }: ProvisionOptions,
): Promise<ProvisionAction> {
  if (made === "would-create") return "would-create";
  if ((await table.describe())?.DeletionProtectionEnabled) return made === "created" ? "created" : "exists";
  // Only an attempt shows that it is unsupported; init has made one.
  if (plan && unsupported.split(",").includes(kind)) return "unsupported";
  if (plan) return "would-update";
  if (!(await table.setProtection(true))) return "unsupported";
  // An emulator that accepts the setting and drops it does not support it.
  return (await table.describe())?.DeletionProtectionEnabled ? "updated" : "unsupported";
}

/** Requests about one table, with errors of the contract. */
export class Table {
  readonly name: string;
  readonly #client: DynamoDBClient;
  readonly #settings: DynamodbSettings;
  readonly #signal: AbortSignal;

  constructor(client: DynamoDBClient, name: string, settings: DynamodbSettings, signal: AbortSignal) {
    this.name = name;
    this.#client = client;
    this.#settings = settings;
    this.#signal = signal;
  }

  /** Undefined when there is no such table. */
  async describe(): Promise<TableDescription | undefined> {
    try {
      return (await this.#client.send(new DescribeTableCommand({ TableName: this.name }), this.#options())).Table;
    } catch (error) {
      if (error instanceof ResourceNotFoundException) return undefined;
      throw this.failure(error, "dynamodb:DescribeTable");
    }
  }

  /** False when another init was faster. */
  async create(): Promise<boolean> {
    const command = new CreateTableCommand({ TableName: this.name, ...wanted, ...protection });
    try {
      await this.#client.send(command, this.#options());
      return true;
    } catch (error) {
      if (error instanceof ResourceInUseException) return false;
      throw this.failure(error, "dynamodb:CreateTable");
    }
  }

  /** Returns when the setting is applied; false when it is unsupported. */
  async setProtection(DeletionProtectionEnabled: boolean): Promise<boolean> {
    try {
      const command = new UpdateTableCommand({ TableName: this.name, DeletionProtectionEnabled });
      await this.#client.send(command, this.#options());
    } catch (error) {
      if (isUnsupported(error)) return false;
      // Another command is making the same change.
      if (!(error instanceof ResourceInUseException)) throw this.failure(error, "dynamodb:UpdateTable");
    }
    // Without the protection, it may be removed meanwhile.
    await this.#until((status) => status !== "UPDATING");
    return true;
  }

  async untilActive(): Promise<void> {
    await this.#until((status) => status === "ACTIVE");
  }

  async untilGone(): Promise<void> {
    await this.#until((status) => status === undefined);
  }

  /**
   * Polls the table every half second until its status (undefined: no table) is accepted.
   * @throws UNAVAILABLE after three minutes
   */
  async #until(done: (status: string | undefined) => boolean): Promise<void> {
    const deadline = Date.now() + pollDeadline;
    for (;;) {
      const status = (await this.describe())?.TableStatus;
      if (done(status)) return;
      if (Date.now() > deadline) {
        throw new DocprocError("UNAVAILABLE", `The table ${this.name} is still ${status ?? "not there"}.`, {
          hint: "Run the same command again in a minute.",
        });
      }
      await sleep(pollInterval, undefined, { signal: this.#signal });
    }
  }

  /** @throws CONFLICT for a table with other keys */
  assertOurs(description: TableDescription): void {
    const keys = (description.KeySchema ?? []).map((key) => `${key.AttributeName}:${key.KeyType}`);
    if (keys.toString() === keySchema.map((key) => `${key.AttributeName}:${key.KeyType}`).toString()) return;
    throw new DocprocError("CONFLICT", `The table ${this.name} has other keys than docproc's tables.`, {
      hint: "Nothing was changed. Choose another table with --table.",
    });
  }

  failure(error: unknown, action: string): DocprocError {
    return tableFailure(error, action, this.name, this.#settings);
  }

  #options() {
    return { abortSignal: this.#signal };
  }
}

function isUnsupported(error: unknown): boolean {
  return ["UnknownOperationException", "NotImplemented", "ValidationException"].includes(errorNameOf(error));
}
