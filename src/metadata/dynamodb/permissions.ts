/** The DynamoDB permissions that docproc needs. */
import { type Call, partitionOf, statementsFor } from "../../aws/permissions.ts";
import { admins, everyone, type PolicyStatement, type Role, writers } from "../../core/policy.ts";
import type { DynamodbSettings } from "./settings.ts";

/**
 * - https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
 * - https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
 */
export const dynamodbCalls: readonly Call<"table">[] = [
  ["GetItem", "dynamodb:GetItem", "table", everyone],
  ["BatchGetItem", "dynamodb:BatchGetItem", "table", everyone],
  ["Query", "dynamodb:Query", "table", everyone],
  ["PutItem", "dynamodb:PutItem", "table", writers],
  ["UpdateItem", "dynamodb:UpdateItem", "table", writers],
  ["TransactWriteItems/Put", "dynamodb:PutItem", "table", writers],
  ["TransactWriteItems/Delete", "dynamodb:DeleteItem", "table", writers],
  ["TransactWriteItems/ConditionCheck", "dynamodb:ConditionCheckItem", "table", admins],
  ["Scan", "dynamodb:Scan", "table", admins],

  ["DescribeTable", "dynamodb:DescribeTable", "table", admins],
  ["CreateTable", "dynamodb:CreateTable", "table", admins],
  ["UpdateTable", "dynamodb:UpdateTable", "table", admins],
  ["DeleteTable", "dynamodb:DeleteTable", "table", admins],
];

/** @param settings those of the whole library: the account that must own a bucket beside the table also owns the table */
export function dynamodbPermissions(
  role: Role,
  { table, region, bucketOwner }: DynamodbSettings & { readonly bucketOwner?: string | undefined },
): PolicyStatement[] {
  const arn = `arn:${partitionOf(region)}:dynamodb:${region ?? "*"}:${bucketOwner ?? "*"}:table/${table}`;
  return statementsFor(dynamodbCalls, role, [{ kind: "table", sid: "DocprocTable", arn }]);
}
