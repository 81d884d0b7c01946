/**
 * The AWS endpoints that the suites run against: the servers of this repository always, moto when it is on PATH,
 * and any endpoint named by DOCPROC_TEST_ENDPOINT. What is there is used; nothing is skipped in silence.
 */

import { randomUUID } from "node:crypto";
import type { DirectorySettings } from "../../src/files/settings.ts";
import type { DynamodbSettings } from "../../src/metadata/dynamodb/settings.ts";
import type { S3Settings } from "../../src/storage/s3/settings.ts";
import { type DynamoDbServer, startDynamoDbServer } from "./dynamodb-server.ts";
import { forward, listen } from "./forward.ts";
import { motoOnPath, startMoto } from "./moto.ts";
import { type S3Server, type S3ServerOptions, startS3Server } from "./s3-server.ts";

export interface AwsEndpoint {
  /** Answers for S3 and DynamoDB. */
  readonly endpoint: string;
  close(): Promise<void>;
}

export interface InRepoAws extends AwsEndpoint {
  readonly s3: S3Server;
  readonly dynamodb: DynamoDbServer;
}

/** STS as far as it is asked: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html */
function callerIdentity(account: string): string {
  return `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
    <Arn>arn:aws:iam::${account}:user/test</Arn><UserId>AIDA</UserId><Account>${account}</Account>
    </GetCallerIdentityResult><ResponseMetadata><RequestId>test</RequestId></ResponseMetadata></GetCallerIdentityResponse>`;
}

/** S3, DynamoDB and as much of STS as is asked, of this repository behind one address, as an emulator has it. */
export async function startInRepoAws(options: S3ServerOptions = {}): Promise<InRepoAws> {
  const [s3, dynamodb] = await Promise.all([startS3Server(options), startDynamoDbServer()]);
  const router = await listen((incoming, outgoing) => {
    if (incoming.headers["content-type"]?.startsWith("application/x-www-form-urlencoded")) {
      incoming.on("end", () => outgoing.end(callerIdentity(options.ownerAccount ?? "123456789012"))).resume();
      return;
    }
    const isDynamoDb = incoming.headers["x-amz-target"] !== undefined;
    void forward(incoming, outgoing, isDynamoDb ? dynamodb.endpoint : s3.endpoint);
  });
  return {
    endpoint: router.endpoint,
    s3,
    dynamodb,
    async close() {
      router.close();
      await Promise.all([s3.close(), dynamodb.close()]);
    },
  };
}

/** Every endpoint there is on this machine, by the name its suites carry. */
export function awsEndpoints(): Record<string, () => Promise<AwsEndpoint>> {
  const named = process.env["DOCPROC_TEST_ENDPOINT"];
  return {
    "the servers of this repository": () => startInRepoAws(),
    ...(motoOnPath() ? { moto: startMoto } : {}),
    ...(named ? { [named]: async () => ({ endpoint: named, close: async () => {} }) } : {}),
  };
}

/** Settings as every driver reads them. */
export type AnySettings = DirectorySettings & S3Settings & DynamodbSettings;

/** Settings for S3 and DynamoDB at an endpoint, with a bucket and table of their own. */
export function awsSettings(endpoint: string, overrides: Partial<AnySettings> = {}): AnySettings {
  const name = `docproc-${randomUUID().slice(0, 13)}`;
  return {
    storage: "s3",
    metadata: "dynamodb",
    directory: "unused",
    bucket: name,
    bucketOwner: undefined,
    prefix: "",
    table: name,
    region: "us-east-1",
    profile: undefined,
    endpointUrl: endpoint,
    partSize: undefined,
    partsInFlight: undefined,
    connections: undefined,
    expandTags: false,
    tagVariables: [],
    owners: undefined,
    provenance: true,
    tags: {},
    memory: 64 * 1024 ** 2,
    concurrency: 4,
    onDuplicate: "reuse",
    customEndpoint: endpoint,
    unsupported: "",
    allowHttp: false,
    retries: 2,
    timeout: 60_000,
    resume: true,
    stateDirectory: "unused",
    ...overrides,
  };
}

/** Settings for the embedded library in a directory. */
export function localSettings(directory: string): AnySettings {
  return {
    ...awsSettings(""),
    storage: "local",
    metadata: "local",
    directory,
    endpointUrl: undefined,
    customEndpoint: undefined,
  };
}
