/** Changes fields of a document. Its place does not change, so this is one write of one item. */
import {
  ConditionalCheckFailedException,
  type DynamoDBClient,
  UpdateItemCommand,
  type UpdateItemCommandInput,
} from "@aws-sdk/client-dynamodb";
import { errorNameOf } from "../../aws/failures.ts";
import { throwIfCancelled } from "../../core/errors.ts";
import { lateSignal, pause } from "../../core/retry.ts";
import { canonicalJson, type DocumentRecord } from "../../document/record.ts";
import { documentKey } from "./documents.ts";
import { tableFailure, unanswered } from "./failures.ts";
import type { Item } from "./reads.ts";
import type { DynamodbSettings } from "./settings.ts";

const fields = ["tags", "metadata", "contentType", "expiresAt"] as const;
type Changing = Pick<DocumentRecord, (typeof fields)[number]>;

export class Updates {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
  }

  /**
   * Replaces the fields that may change, if they are as given.
   * @returns false when they are not, or when the document is gone
   */
  async change(id: string, before: Changing, after: Changing, signal: AbortSignal): Promise<boolean> {
    const [old, wanted] = [valuesOf(before), valuesOf(after)];
    const changed = fields.filter((field) => old[field] !== wanted[field]);
    const sets = changed.flatMap((field) => (wanted[field] === undefined ? [] : [`#${field} = :new_${field}`]));
    const removed = changed.filter((field) => wanted[field] === undefined).map((field) => `#${field}`);
    // The tags that it was uploaded with stay known.
    if (changed.includes("tags")) sets.push("#given = if_not_exists(#given, :tags)");
    // Without a change, the condition alone is the question.
    if (changed.length === 0) sets.push("#tags = :tags");
    const conditions = fields.map((field) =>
      old[field] === undefined ? `attribute_not_exists(#${field})` : `#${field} = :${field}`,
    );
    const values = [
      ...fields.map((field) => [`:${field}`, old[field]]),
      ...changed.map((field) => [`:new_${field}`, wanted[field]]),
    ].filter(([, text]) => text !== undefined);
    const found = await this.#send(
      {
        TableName: this.#table,
        Key: documentKey(id),
        UpdateExpression: [
          ...(sets.length > 0 ? [`SET ${sets.join(", ")}`] : []),
          ...(removed.length > 0 ? [`REMOVE ${removed.join(", ")}`] : []),
        ].join(" "),
        ConditionExpression: ["attribute_exists(pk)", ...conditions].join(" AND "),
        // Words may be or become reserved:
        // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
        ExpressionAttributeNames: {
          ...Object.fromEntries(fields.map((field) => [`#${field}`, field])),
          ...(changed.includes("tags") ? { "#given": "given" } : {}),
        },
        ExpressionAttributeValues: Object.fromEntries(values.map(([name, S]) => [name, { S }])),
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      },
      signal,
    );
    // The SDK may have repeated a successful request.
    return found === "done" || (found !== undefined && fields.every((field) => found[field]?.S === wanted[field]));
  }

  /** @returns false when the document is gone */
  async prove(id: string, signal: AbortSignal): Promise<boolean> {
    const found = await this.#send(
      {
        TableName: this.#table,
        Key: documentKey(id),
        UpdateExpression: "REMOVE #unproved",
        ConditionExpression: "attribute_exists(pk)",
        ExpressionAttributeNames: { "#unproved": "unproved" },
      },
      signal,
    );
    return found === "done";
  }

  /**
   * Sends it. The signal counts only before: a write in flight is awaited, since its outcome counts.
   * @returns the item as it is if the condition failed and there is one
   * @throws UNAVAILABLE when the outcome is unknown; after any other error nothing was written
   */
  async #send(input: UpdateItemCommandInput, signal: AbortSignal): Promise<"done" | Item | undefined> {
    for (let attempt = 1; ; attempt++) {
      throwIfCancelled(signal);
      const late = lateSignal(signal);
      try {
        await this.#client.send(new UpdateItemCommand(input), { abortSignal: late.signal });
        return "done";
      } catch (error) {
        if (late.signal.aborted) throw unanswered(this.#table, error);
        if (error instanceof ConditionalCheckFailedException) return error.Item;
        // Nothing was written: a transaction had the item.
        const isConflict = errorNameOf(error) === "TransactionConflictException" && attempt <= this.#settings.retries;
        if (!isConflict) throw tableFailure(error, "dynamodb:UpdateItem", this.#table, this.#settings);
      } finally {
        late.forget();
      }
      await pause(attempt, signal);
    }
  }
}

function valuesOf({ tags, metadata, contentType, expiresAt }: Changing) {
  return {
    tags: canonicalJson(tags),
    metadata: canonicalJson(metadata),
    contentType,
    expiresAt: expiresAt ?? undefined,
  };
}
