/** DynamoDB's own settings. */
import { type AwsSettings, awsSettings } from "../../aws/settings.ts";
import type { SettingTable, ValuesOf } from "../../core/setting.ts";
import { text } from "../../core/values.ts";

export const dynamodbSettings = {
  /** A DynamoDB table; default: the bucket's name. */
  table: {
    parse: text,
    flag: { placeholder: "<name>", help: "DynamoDB table" },
    docs: { fallback: "the bucket's name" },
    isPlace: true,
    follows: "bucket",
    written: "chosen",
  },
  ...awsSettings,
} as const satisfies SettingTable;

export type DynamodbSettings = AwsSettings & ValuesOf<typeof dynamodbSettings>;
