/** S3's own settings. */
import { type AwsSettings, awsSettings } from "../../aws/settings.ts";
import type { SettingTable, ValuesOf } from "../../core/setting.ts";
import { text } from "../../core/values.ts";

export const s3Settings = {
  /** An S3 bucket; alone it selects S3 and a DynamoDB table of the same name. */
  bucket: {
    parse: text,
    flag: { placeholder: "<name>", help: "S3 bucket; by default with a DynamoDB table of the same name" },
    docs: { meaning: "S3 bucket" },
    isPlace: true,
    written: "chosen",
  },
  /** The AWS account that must own the bucket, 12 digits; S3 refuses every request to another account's. */
  bucketOwner: {
    parse: account,
    flag: { placeholder: "<account>", help: "AWS account that must own the bucket" },
    isPlace: true,
    written: "chosen",
  },
  ...awsSettings,
} as const satisfies SettingTable;

export type S3Settings = AwsSettings & ValuesOf<typeof s3Settings>;

/** https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-identifiers.html */
function account(value: unknown): string {
  if (/^\d{12}$/.test(text(value))) return text(value);
  throw new Error("it must be an AWS account, 12 digits in quotes");
}
