/** IAM policies from the drivers' tables of calls. test/aws/permissions.test.ts compares both with real calls. */
import type { PolicyStatement, Role } from "../core/policy.ts";

/**
 * An SDK operation, the permission it needs, the kind of resource, and the roles that use it. The items of a
 * transaction follow a slash, since each needs its own permission. An operation that needs several permissions has
 * several entries.
 */
export type Call<Kind extends string> = readonly [operation: string, action: string, on: Kind, roles: readonly Role[]];

export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly PolicyStatement[];
}

/** The statements for a role's calls, one per resource; none for resources that the role does not use. */
export function statementsFor<Kind extends string>(
  calls: readonly Call<Kind>[],
  role: Role,
  resources: readonly { readonly kind: Kind; readonly sid: string; readonly arn: string }[],
): PolicyStatement[] {
  const statements = resources.map(({ kind, sid, arn }) => {
    const granted = calls.flatMap(([, action, on, to]) => (on === kind && to.includes(role) ? [action] : []));
    return { Sid: sid, Effect: "Allow" as const, Action: [...new Set(granted)].sort(), Resource: arn };
  });
  return statements.filter(({ Action }) => Action.length > 0);
}

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html */
export function partitionOf(region = ""): string {
  if (region.startsWith("cn-")) return "aws-cn";
  if (region.startsWith("us-gov-")) return "aws-us-gov";
  return region.startsWith("eusc-") ? "aws-eusc" : "aws";
}

/**
 * A policy as a Terraform resource, formatted as `terraform fmt` would.
 * https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/iam_policy
 */
export function terraformOf(role: Role, policy: PolicyDocument): string {
  const statements = policy.Statement.map(({ Sid, Effect, Action, Resource }) =>
    [
      "      {",
      `        Sid    = ${text(Sid)}`,
      `        Effect = ${text(Effect)}`,
      "        Action = [",
      ...Action.map((action) => `          ${text(action)},`),
      "        ]",
      `        Resource = ${text(Resource)}`,
      "      },",
    ].join("\n"),
  );
  return [
    `resource "aws_iam_policy" "docproc_${role}" {`,
    `  name = "docproc-${role}"`,
    "  policy = jsonencode({",
    `    Version = ${text(policy.Version)}`,
    "    Statement = [",
    ...statements,
    "    ]",
    "  })",
    "}",
  ].join("\n");
}

/**
 * https://developer.hashicorp.com/terraform/language/expressions/strings: JSON strings, with template marks escaped.
 */
function text(value: string): string {
  return JSON.stringify(value).replace(/[$%]\{/g, (mark) => `${mark[0]}${mark}`);
}
