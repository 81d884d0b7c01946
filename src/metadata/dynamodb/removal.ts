/** Removes the table once it holds only the entry of the catalog itself. */
import { DeleteTableCommand, type DynamoDBClient, paginateScan, type TableDescription } from "@aws-sdk/client-dynamodb";
import { advancingPages } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import { assertEmpty, maxCounted } from "../../core/not-empty.ts";
import type { DismantledResource, ProvisionOptions } from "../../core/resources.ts";
import { cleanUpSignal } from "../../core/retry.ts";
import { itemsOf } from "./reads.ts";
import type { DynamodbSettings } from "./settings.ts";
import { Table } from "./table.ts";

export async function* removeTable(
  client: DynamoDBClient,
  name: string,
  settings: DynamodbSettings,
  { plan, signal }: ProvisionOptions,
): AsyncIterable<DismantledResource> {
  const table = new Table(client, name, settings, signal);
  const resource = { kind: "table", name };
  const found = await table.describe();
  if (found === undefined) {
    yield { ...resource, action: "gone" };
    return;
  }
  // An earlier run may have been interrupted while it waited.
  const leaving = found.TableStatus === "DELETING";
  if (!leaving) {
    table.assertOurs(found);
    if (found.TableStatus !== "ACTIVE") await table.untilActive();
    await assertNothingIn(client, table, found, signal);
  }
  if (plan) {
    yield { ...resource, action: "would-remove" };
    return;
  }
  if (!leaving) {
    const late = new Table(client, name, settings, cleanUpSignal());
    await remove(client, table, found.DeletionProtectionEnabled === true ? late : undefined, signal);
  }
  await table.untilGone();
  yield { ...resource, action: "removed" };
}

/** @param guarded the protected table, to protect it again if the removal fails; undefined when it is unprotected */
async function remove(
  client: DynamoDBClient,
  table: Table,
  guarded: Table | undefined,
  abortSignal: AbortSignal,
): Promise<void> {
  try {
    if (guarded) await table.setProtection(false);
    await client.send(new DeleteTableCommand({ TableName: table.name }), { abortSignal });
  } catch (error) {
    // Another command was faster, or the response was lost.
    const status = (await table.describe())?.TableStatus;
    if (status === undefined || status === "DELETING") return;
    await guarded?.setProtection(true).catch(() => {});
    throw table.failure(error, "dynamodb:DeleteTable");
  }
}

/**
 * Scans only until it knows what the table holds. For the keys see catalog.ts.
 * @throws CONFLICT for documents, places of documents and foreign items
 */
async function assertNothingIn(
  client: DynamoDBClient,
  table: Table,
  found: TableDescription,
  abortSignal: AbortSignal,
): Promise<void> {
  const counts = { document: 0, path: 0, "other item": 0 };
  let [isCatalog, more] = [false, false];
  const input = { TableName: table.name, ConsistentRead: true, ProjectionExpression: "pk, sk" };
  try {
    const pages = paginateScan({ client }, input, { abortSignal });
    scan: for await (const page of advancingPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
      for (const { pk, sk } of itemsOf(page)) {
        const key = pk?.S ?? "";
        if (key === "catalog" && sk?.S?.startsWith("adopted#")) continue;
        if (key === "catalog" && sk?.S === "catalog") isCatalog = true;
        else counts[key.startsWith("doc#") ? "document" : key.startsWith("path#") ? "path" : "other item"] += 1;
        more = Math.max(...Object.values(counts)) >= maxCounted;
        if (more) break scan;
      }
    }
  } catch (error) {
    throw table.failure(error, "dynamodb:Scan");
  }
  // Each document has a path.
  if (counts.document > 0) counts.path = 0;
  assertEmpty(`table ${table.name}`, counts, more);
  if (!isCatalog) assertAsMade(table, found);
}

/** Keys named pk and sk are common. A table without a catalog is ours if it looks as `init` creates it. */
function assertAsMade({ name }: Table, found: TableDescription): void {
  const { BillingModeSummary, GlobalSecondaryIndexes = [], LocalSecondaryIndexes = [], StreamSpecification } = found;
  const indexes = GlobalSecondaryIndexes.length + LocalSecondaryIndexes.length;
  const onDemand = BillingModeSummary?.BillingMode === "PAY_PER_REQUEST";
  if (onDemand && indexes === 0 && !StreamSpecification?.StreamEnabled) return;
  throw new DocprocError("CONFLICT", `docproc did not create the table ${name}.`, {
    hint: "Nothing was removed. Choose another table with --table.",
  });
}
