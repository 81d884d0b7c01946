/** The DynamoDB of the null endpoint: items in a map, and of all conditions only `attribute_not_exists`. */
import type { NullReply } from "./null-endpoint.ts";

type Item = Record<string, { readonly S?: string }>;
interface Write {
  readonly Item?: Item;
  readonly Key?: Item;
  readonly ConditionExpression?: string;
}
interface Input extends Write {
  readonly TableName?: string;
  readonly TransactItems?: readonly Record<string, Write>[];
  readonly RequestItems?: Record<string, { readonly Keys: readonly Item[] }>;
  readonly ExpressionAttributeValues?: Record<string, { readonly S: string }>;
  readonly ScanIndexForward?: boolean;
  readonly Limit?: number;
}

export class NullDynamoDb {
  /** By partition, then by sort key. */
  readonly #partitions = new Map<string, Map<string, Item>>();

  answer(target: string, body: string): NullReply {
    const operation = target.slice(target.indexOf(".") + 1);
    const input = JSON.parse(body) as Input;
    switch (operation) {
      case "GetItem":
        return ok(operation, { Item: this.#find(input.Key ?? {}) });
      case "BatchGetItem": {
        const found = Object.entries(input.RequestItems ?? {}).map(([table, { Keys }]) => [
          table,
          Keys.map((key) => this.#find(key)).filter(Boolean),
        ]);
        return ok(operation, { Responses: Object.fromEntries(found), UnprocessedKeys: {} });
      }
      case "PutItem":
        return this.#write(operation, [input]);
      case "TransactWriteItems":
        return this.#write(
          operation,
          (input.TransactItems ?? []).map((one) => Object.values(one)[0] ?? {}),
        );
      case "Query":
        return ok(operation, { Items: this.#range(input) });
      case "Scan":
        return ok(operation, { Items: [...this.#partitions.values()].flatMap((items) => [...items.values()]) });
      default:
        return failure(operation, "UnknownOperationException", {});
    }
  }

  #find(key: Item): Item | undefined {
    return this.#partitions.get(key["pk"]?.S ?? "")?.get(key["sk"]?.S ?? "");
  }

  #write(operation: string, writes: readonly Write[]): NullReply {
    const reasons = writes.map(({ Item: item, ConditionExpression }) => {
      const taken = ConditionExpression !== undefined && item !== undefined ? this.#find(item) : undefined;
      return taken === undefined ? { Code: "None" } : { Code: "ConditionalCheckFailed", Item: taken };
    });
    if (reasons.some(({ Code }) => Code !== "None")) {
      const transaction = operation === "TransactWriteItems";
      const name = transaction ? "TransactionCanceledException" : "ConditionalCheckFailedException";
      return failure(operation, name, transaction ? { CancellationReasons: reasons } : {});
    }
    for (const { Item: item, Key } of writes) {
      const { pk, sk } = item ?? Key ?? {};
      const partition = this.#partitions.get(pk?.S ?? "") ?? new Map<string, Item>();
      this.#partitions.set(pk?.S ?? "", partition);
      if (item === undefined) partition.delete(sk?.S ?? "");
      else partition.set(sk?.S ?? "", item);
    }
    return ok(operation, {});
  }

  #range({ ExpressionAttributeValues: values = {}, ScanIndexForward = true, Limit }: Input): Item[] {
    const { ":pk": pk, ":from": from = { S: "" }, ":to": to = { S: "\uffff" } } = values;
    const keys = [...(this.#partitions.get(pk?.S ?? "") ?? [])].filter(([sk]) => sk >= from.S && sk <= to.S).sort();
    return (ScanIndexForward ? keys : keys.reverse()).slice(0, Limit).map(([, item]) => item);
  }
}

function ok(operation: string, output: object): NullReply {
  return { operation, headers: json, body: JSON.stringify(output) };
}

function failure(operation: string, name: string, more: object): NullReply {
  return { operation, status: 400, headers: json, body: JSON.stringify({ __type: `x#${name}`, ...more }) };
}

const json = { "content-type": "application/x-amz-json-1.0" };
