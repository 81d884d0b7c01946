// The documents that configure a bucket, and what S3 refuses in them.
import { randomBytes } from "node:crypto";
import { invalidArgument, invalidRequest, malformedXml, S3Error } from "./errors.ts";
import { childNodes, childText, nodeXml, parseXml, type XmlNode } from "./xml.ts";

const ACCESS_BLOCKS = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"] as const;
export type PublicAccessBlock = Record<(typeof ACCESS_BLOCKS)[number], boolean>;
export const everyAccessBlocked: PublicAccessBlock = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
};

export function readAccessBlock(body: Buffer): PublicAccessBlock {
  const config = parseXml(body.toString(), "PublicAccessBlockConfiguration");
  const block = { ...everyAccessBlocked };
  for (const name of ACCESS_BLOCKS) block[name] = /^true$/i.test(childText(config, name) ?? "");
  if (config.children.length === 0 || config.children.some(({ name }) => !(name in block))) throw malformedXml();
  return block;
}

export const OWNERSHIPS = /^(BucketOwnerEnforced|BucketOwnerPreferred|ObjectWriter)$/;

export function readOwnership(body: Buffer): string {
  const rules = childNodes(parseXml(body.toString(), "OwnershipControls"), "Rule");
  const ownership = childText(rules[0], "ObjectOwnership") ?? "";
  if (rules.length !== 1 || !OWNERSHIPS.test(ownership)) throw malformedXml();
  return ownership;
}

export const ENCRYPTIONS = /^(AES256|aws:kms(:dsse)?)$/;
export interface Encryption {
  algorithm: string;
  kmsKeyId?: string | undefined;
  bucketKey: boolean;
}

export function readEncryption(body: Buffer): Encryption {
  const rules = childNodes(parseXml(body.toString(), "ServerSideEncryptionConfiguration"), "Rule");
  const [byDefault] = childNodes(rules[0], "ApplyServerSideEncryptionByDefault");
  const algorithm = childText(byDefault, "SSEAlgorithm") ?? "";
  if (rules.length !== 1 || !ENCRYPTIONS.test(algorithm)) throw malformedXml();
  const bucketKey = childText(rules[0], "BucketKeyEnabled") === "true";
  return { algorithm, kmsKeyId: childText(byDefault, "KMSMasterKeyID"), bucketKey };
}

const malformedPolicy = (message: string) => new S3Error(400, "MalformedPolicy", message);
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

/** Validates a bucket policy as far as S3 does and tells whether S3 would call it public. */
export function readPolicy(body: Buffer, bucketName: string): { opensToAnyone: boolean } {
  const arn = `arn:aws:s3:::${bucketName}`;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString());
  } catch {
    throw malformedPolicy("Policies must be valid JSON and the first byte must be '{'");
  }
  const { Statement, Version = "2008-10-17" } = isRecord(parsed) ? parsed : {};
  const statements = asList(Statement).filter(isRecord);
  if (Version !== "2012-10-17" && Version !== "2008-10-17") {
    throw malformedPolicy("The policy must contain a valid version string");
  }
  if (statements.length === 0) throw malformedPolicy("Missing required field Statement");
  let opensToAnyone = false;
  for (const statement of statements) {
    const { Effect, Principal, Condition } = statement;
    const field = (name: string) => asList(statement[name] ?? statement[`Not${name}`]);
    const missing = ["Principal", "Action", "Resource"].find((name) => field(name).length === 0);
    if (missing !== undefined) throw malformedPolicy(`Missing required field ${missing}`);
    if (Effect !== "Allow" && Effect !== "Deny") throw malformedPolicy(`Invalid effect: ${Effect}`);
    if (!field("Resource").every((name) => name === arn || String(name).startsWith(`${arn}/`))) {
      throw malformedPolicy("Policy has invalid resource");
    }
    const anyone = Principal === "*" || (isRecord(Principal) && asList(Principal["AWS"]).includes("*"));
    opensToAnyone ||= Effect === "Allow" && anyone && Condition === undefined;
  }
  return { opensToAnyone };
}

/** The rules of a valid lifecycle configuration, as XML, each with an ID. */
export function readLifecycle(body: Buffer): string {
  const rules = childNodes(parseXml(body.toString(), "LifecycleConfiguration"), "Rule");
  for (const rule of rules) checkLifecycleRule(rule);
  if (rules.length === 0) throw malformedXml();
  if (new Set(rules.map((rule) => childText(rule, "ID"))).size < rules.length) {
    throw invalidArgument("Rule ID must be unique. Found same ID for more than one rule", "ID", "");
  }
  return rules.map(nodeXml).join("");
}

function checkLifecycleRule(rule: XmlNode): void {
  const has = (name: string) => childNodes(rule, name).length === 1;
  if (!/^(Enabled|Disabled)$/.test(childText(rule, "Status") ?? "") || has("Filter") === has("Prefix")) {
    throw malformedXml();
  }
  if (!rule.children.some(({ name }) => /Expiration$|Transition$|^AbortIncompleteMultipartUpload$/.test(name))) {
    throw invalidRequest("At least one action needs to be specified in a rule.");
  }
  if (has("AbortIncompleteMultipartUpload")) {
    const days = childText(childNodes(rule, "AbortIncompleteMultipartUpload")[0], "DaysAfterInitiation") ?? "";
    if (!/^[1-9]\d*$/.test(days)) {
      const message = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer";
      throw invalidArgument(message, "DaysAfterInitiation", days);
    }
    if (/<Tag>/.test(nodeXml(rule))) {
      throw invalidRequest("AbortIncompleteMultipartUpload cannot be specified with Tags.");
    }
  }
  if (!has("ID")) rule.children.unshift({ name: "ID", children: [], text: randomBytes(24).toString("base64") });
  const id = childText(rule, "ID") ?? "";
  if (id.length > 255) throw invalidArgument("ID length should not exceed allowed limit of 255", "ID", id);
}
