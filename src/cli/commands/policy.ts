import { type PolicyDocument, terraformOf } from "../../aws/permissions.ts";
import { drivers } from "../../config/settings.ts";
import { choosingSettings } from "../../core/driver.ts";
import { DocprocError } from "../../core/errors.ts";
import { type Role, roles } from "../../core/policy.ts";
import { flagOf } from "../../core/setting.ts";
import { defineCommand } from "./command.ts";

interface PolicyInput {
  readonly role: Role;
  readonly format: "json" | "terraform";
}

export const policy = defineCommand({
  examples: [
    ["Print the policy of a CI job that uploads", "policy upload"],
    [
      "Create it in IAM",
      "policy upload | aws iam create-policy --policy-name docproc-upload --policy-document file:///dev/stdin",
    ],
    ["Print it for Terraform", "policy read --format terraform > docproc.tf"],
  ],
  configure(command) {
    return command
      .argument(`<${roles.join("|")}>`, "what to allow: uploading and tagging, listing and reading, or everything")
      .option("--format <json|terraform>", "print the policy, or a Terraform resource (default: json)");
  },
  parse([given = ""], { format = "json", json, ndjson, quiet }): PolicyInput {
    const role = roles.find((name) => name === given);
    if (role === undefined) {
      throw new DocprocError("USAGE", `There is no policy for the role ${JSON.stringify(given)}.`, {
        hint: `Choose one of ${roles.join(", ")}.`,
      });
    }
    if (format !== "json" && format !== "terraform") {
      throw new DocprocError("USAGE", `A policy cannot be printed as ${JSON.stringify(format)}.`, {
        hint: "Use --format json or --format terraform.",
      });
    }
    if (quiet || (format === "terraform" && (json || ndjson))) {
      throw new DocprocError("USAGE", "A policy has no id, and is printed in only one form at a time.", {
        hint: "Remove -q, or --json or --ndjson beside --format terraform.",
      });
    }
    return { role, format };
  },
  async run({ library: openLibrary, reporter }, { role, format }) {
    const statements = await (await openLibrary()).permissions(role);
    const document: PolicyDocument = { Version: "2012-10-17", Statement: statements };
    if (statements.length === 0) {
      const flags = choosingSettings(drivers.storage, ({ permissions }) => permissions !== undefined).map(flagOf);
      throw new DocprocError("USAGE", "This library is not on AWS, so it needs no AWS permissions.", {
        hint: `Choose a library on AWS with ${flags.join(" or ")}: docproc policy upload ${flags[0]} NAME`,
      });
    }
    const envelope = { schema: "docproc.policy/1", role, policy: document };
    await reporter.item({ value: envelope, id: null });
    const printed = format === "terraform" ? terraformOf(role, document) : JSON.stringify(document, null, 2);
    return { envelope, text: () => printed };
  },
});
