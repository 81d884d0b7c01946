/** Makes the table: on demand, protected against deletion, nothing to pay while it is not used. */
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
import { errorNameOf } from "../aws.ts";
import { skewOf } from "../aws-client.ts";
import { DocprocError } from "../errors.ts";
import type { ProvisionAction, ProvisionedResource, ProvisionOptions, Settings } from "../settings.ts";
import { tableFailure } from "./dynamodb-failures.ts";

/** Milliseconds. A table takes a few seconds; the SDK's waiter would look again after 20 s only. */
const pollInterval = 500;
const pollDeadline = 180_000;

const keySchema = [
  { AttributeName: "pk", KeyType: "HASH" },
  { AttributeName: "sk", KeyType: "RANGE" },
] as const;

export async function* provisionTable(
  client: DynamoDBClient,
  table: string,
  settings: Settings,
  options: ProvisionOptions,
): AsyncIterable<ProvisionedResource> {
  const provisioning = new TableProvisioning(client, table, settings, options);
  const made = await provisioning.table();
  yield { kind: "table", name: table, action: made };
  const kind = "deletion-protection";
  yield { kind, name: table, action: await provisioning.deletionProtection(kind, made) };
}

/**
 * Milliseconds that the clock of DynamoDB is ahead of ours, as its answer about the table says.
 * @throws NOT_INITIALISED, ACCESS_DENIED and whatever else is wrong with the table or the way to it
 */
export async function clockSkew(
  client: DynamoDBClient,
  table: string,
  settings: Settings,
  abortSignal: AbortSignal,
): Promise<number> {
  try {
    await client.send(new DescribeTableCommand({ TableName: table }), { abortSignal });
  } catch (error) {
    throw tableFailure(error, "dynamodb:DescribeTable", table, settings);
  }
  return skewOf(client) ?? 0;
}

class TableProvisioning {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: Settings;
  readonly #options: ProvisionOptions;

  constructor(client: DynamoDBClient, table: string, settings: Settings, options: ProvisionOptions) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
    this.#options = options;
  }

  async table(): Promise<ProvisionAction> {
    const existing = await this.#describe();
    if (existing) {
      this.#assertOurs(existing);
      if (!this.#options.plan) await this.#untilActive();
      return "exists";
    }
    if (this.#options.plan) return "would-create";
    const created = await this.#create();
    await this.#untilActive();
    return created ? "created" : "exists";
  }

  async deletionProtection(kind: string, made: ProvisionAction): Promise<ProvisionAction> {
    if (made === "would-create") return "would-create";
    if ((await this.#describe())?.DeletionProtectionEnabled) return made === "created" ? "created" : "exists";
    // That it cannot be had is only found out by trying, which init did.
    if (this.#options.plan && this.#settings.unsupported.split(",").includes(kind)) return "unsupported";
    if (this.#options.plan) return "would-update";
    try {
      await this.#client.send(
        new UpdateTableCommand({ TableName: this.#table, DeletionProtectionEnabled: true }),
        this.#signal(),
      );
      await this.#untilActive();
    } catch (error) {
      // Another init is changing it right now, to the same.
      if (error instanceof ResourceInUseException) await this.#untilActive();
      else if (isUnsupported(error)) return "unsupported";
      else throw this.#failure(error, "dynamodb:UpdateTable");
    }
    // An emulator that accepts the setting and forgets it does not support it.
    return (await this.#describe())?.DeletionProtectionEnabled ? "updated" : "unsupported";
  }

  /** False when another init was faster. */
  async #create(): Promise<boolean> {
    const command = new CreateTableCommand({
      TableName: this.#table,
      KeySchema: [...keySchema],
      AttributeDefinitions: keySchema.map(({ AttributeName }) => ({ AttributeName, AttributeType: "S" })),
      BillingMode: "PAY_PER_REQUEST",
      DeletionProtectionEnabled: true,
    });
    try {
      await this.#client.send(command, this.#signal());
      return true;
    } catch (error) {
      if (error instanceof ResourceInUseException) return false;
      throw this.#failure(error, "dynamodb:CreateTable");
    }
  }

  async #describe(): Promise<TableDescription | undefined> {
    try {
      return (await this.#client.send(new DescribeTableCommand({ TableName: this.#table }), this.#signal())).Table;
    } catch (error) {
      if (error instanceof ResourceNotFoundException) return undefined;
      throw this.#failure(error, "dynamodb:DescribeTable");
    }
  }

  async #untilActive(): Promise<void> {
    const deadline = Date.now() + pollDeadline;
    while ((await this.#describe())?.TableStatus !== "ACTIVE") {
      if (Date.now() > deadline) {
        throw new DocprocError("UNAVAILABLE", `The table ${this.#table} is still being made.`, {
          hint: "Run docproc init again in a minute.",
        });
      }
      await sleep(pollInterval, undefined, this.#signal());
    }
  }

  #assertOurs(description: TableDescription): void {
    const keys = (description.KeySchema ?? []).map((key) => `${key.AttributeName}:${key.KeyType}`);
    if (keys.toString() === keySchema.map((key) => `${key.AttributeName}:${key.KeyType}`).toString()) return;
    throw new DocprocError("CONFLICT", `The table ${this.#table} has other keys than docproc uses.`, {
      hint: "It belongs to something else: choose another one with --table. Nothing was changed.",
    });
  }

  #signal() {
    return { abortSignal: this.#options.signal, signal: this.#options.signal };
  }

  #failure(error: unknown, action: string): DocprocError {
    return tableFailure(error, action, this.#table, this.#settings);
  }
}

function isUnsupported(error: unknown): boolean {
  return ["UnknownOperationException", "NotImplemented", "ValidationException"].includes(errorNameOf(error));
}
