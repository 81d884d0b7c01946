/** The DynamoDB permissions that docproc needs. */
import { type Call, partitionOf, statementsFor } from "../../aws/permissions.ts";
import { type PolicyStatement, type Role, roles } from "../../core/policy.ts";
import type { DynamodbSettings } from "./settings.ts";

const everyone: readonly Role[] = roles;
const writers: readonly Role[] = ["upload", "admin"];
const admins: readonly Role[] = ["admin"];

/**
 * - https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
 * - https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
 */
export const dynamodbCalls: readonly Call<"table">[] = [
  ["GetItem", "dynamodb:GetItem", "table", everyone],
  ["BatchGetItem", "dynamodb:BatchGetItem", "table", everyone],
  ["Query", "dynamodb:Query", "table", everyone],
  ["PutItem", "dynamodb:PutItem", "table", writers],
  ["TransactWriteItems/Put", "dynamodb:PutItem", "table", writers],
  ["TransactWriteItems/Delete", "dynamodb:DeleteItem", "table", writers],
  ["TransactWriteItems/ConditionCheck", "dynamodb:ConditionCheckItem", "table", admins],
  ["Scan", "dynamodb:Scan", "table", admins],

  ["DescribeTable", "dynamodb:DescribeTable", "table", admins],
  ["CreateTable", "dynamodb:CreateTable", "table", admins],
  ["UpdateTable", "dynamodb:UpdateTable", "table", admins],
  ["DeleteTable", "dynamodb:DeleteTable", "table", admins],
];

export function dynamodbPermissions(role: Role, settings: DynamodbSettings): PolicyStatement[] {
  const { table, region } = settings;
  const account = accountOf(settings) ?? "*";
  const arn = `arn:${partitionOf(region)}:dynamodb:${region ?? "*"}:${account}:table/${table}`;
  return statementsFor(dynamodbCalls, role, [{ kind: "table", sid: "DocprocTable", arn }]);
}

/** The account that must own the bucket also owns the table. */
function accountOf(settings: object): string | undefined {
  return "bucketOwner" in settings && typeof settings.bucketOwner === "string" ? settings.bucketOwner : undefined;
}
