/** Settings that all AWS drivers share. */
import { publicAddress } from "../core/address.ts";
import { isLoopback } from "../core/loopback.ts";
import type { SettingTable, SettingUse, ValuesOf } from "../core/setting.ts";
import type { Settings } from "../core/settings.ts";
import { joined, text, wholeNumber, yesOrNo } from "../core/values.ts";

export const awsSettings = {
  /** AWS region. */
  region: {
    parse: region,
    flag: { placeholder: "<region>", help: "AWS region" },
    docs: { fallback: "`AWS_REGION`, then the AWS profile's" },
    // The SDK for JavaScript ignores AWS_DEFAULT_REGION.
    vendorVariables: ["AWS_REGION", "AWS_DEFAULT_REGION"],
    isPlace: true,
    written: "chosen",
  },
  /** AWS profile, for credentials and region. */
  profile: {
    parse: text,
    flag: { placeholder: "<name>", help: "AWS profile" },
    docs: { fallback: "`AWS_PROFILE`" },
    vendorVariables: ["AWS_PROFILE"],
    isPlace: true,
    isPersonal: true,
    written: "chosen",
    wish: (value) => `use the AWS profile ${value}`,
  },
  /** An S3 and DynamoDB endpoint that is not Amazon's. */
  endpointUrl: {
    parse: endpointUrl,
    flag: { placeholder: "<url>", help: "S3 and DynamoDB endpoint other than Amazon's" },
    docs: { fallback: "`AWS_ENDPOINT_URL` and similar variables" },
    saidTo: awsEndpoint,
    isPlace: true,
    written: "chosen",
    wish: (value, use) => (staysHere(use) ? undefined : `send documents and credentials to ${value}`),
  },
  /** Connections to S3, and as many to DynamoDB; undefined: no limit. */
  connections: {
    parse: wholeNumber(1, 256),
    flag: { placeholder: "<count>", help: "maximum connections to S3, and to DynamoDB (default: one per request)" },
    docs: { meaning: "maximum connections to S3, and to DynamoDB", fallback: "one per request" },
  },
  /** Allows requests without TLS to other machines. */
  allowHttp: {
    parse: yesOrNo,
    docs: { meaning: "`true` allows requests without TLS to other machines", fallback: "`false`" },
    fallback: false,
    isPlace: true,
    wish: (value) => (value === true ? "allow requests without TLS to other machines" : undefined),
  },
  /** Kinds of hardening that the endpoint lacks, comma-separated. */
  unsupported: {
    parse: kinds,
    docs: { meaning: "features that the endpoint lacks, found by `init`" },
    fallback: "",
    isPlace: true,
    written: "found",
    wish: (value, use) => (staysHere(use) || value === "" ? undefined : `turn off ${value}`),
  },
} as const satisfies SettingTable;

/** The settings that AWS drivers read besides their own. */
export type AwsSettings = Settings & ValuesOf<typeof awsSettings> & DerivedAwsSettings;

export interface DerivedAwsSettings {
  /** The S3 endpoint when it is not Amazon: the setting `endpointUrl`, or from AWS's own variables. */
  readonly customEndpoint: string | undefined;
}

export function deriveAwsSettings(
  { endpointUrl }: { readonly endpointUrl: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
): DerivedAwsSettings {
  return { customEndpoint: endpointUrl ?? awsEndpoint(env) };
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html */
function awsEndpoint(env: Readonly<Record<string, string | undefined>>): string | undefined {
  if (env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true") return undefined;
  return env["AWS_ENDPOINT_URL_S3"] || env["AWS_ENDPOINT_URL"] || undefined;
}

function staysHere({ values }: SettingUse): boolean {
  const { customEndpoint = "" } = values as Partial<DerivedAwsSettings>;
  return URL.canParse(customEndpoint) && isLoopback(new URL(customEndpoint).hostname);
}

function region(value: unknown): string {
  if (/^[a-z0-9-]+$/.test(text(value))) return text(value);
  throw new Error("it must look like eu-west-1");
}

function endpointUrl(value: unknown): string {
  const url = URL.canParse(text(value)) ? new URL(text(value)) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") throw new Error("it must be an http:// or https:// URL");
  if (url.username !== "" || url.password !== "") throw new Error("it must not contain a user name or password");
  // The SDK would put the whole address into its error message, and `docproc config` would show it.
  if (publicAddress(text(value)) !== value) throw new Error("it may contain only a host, a port and a path");
  return text(value);
}

function kinds(value: unknown): string {
  const list = joined(value);
  if (typeof list === "string" && /^([a-z]+(-[a-z]+)*(,|$))*$/.test(list)) return list;
  throw new Error("it must be kinds of resources, separated by commas");
}
