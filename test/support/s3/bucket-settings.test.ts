import { createHash } from "node:crypto";
import {
  CreateBucketCommand,
  DeleteBucketEncryptionCommand,
  DeleteBucketLifecycleCommand,
  DeleteBucketOwnershipControlsCommand,
  DeleteBucketPolicyCommand,
  DeletePublicAccessBlockCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetPublicAccessBlockCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  PutPublicAccessBlockCommand,
} from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { Bucket, client, failure, Key, put, rawFailure, serveEachTest, server, start, stored } from "./harness.ts";

serveEachTest();

describe("configuration of a bucket", () => {
  it("is missing at first", async () => {
    const codes = [
      failure(client.send(new GetPublicAccessBlockCommand({ Bucket }))),
      failure(client.send(new GetBucketOwnershipControlsCommand({ Bucket }))),
      failure(client.send(new GetBucketEncryptionCommand({ Bucket }))),
      failure(client.send(new GetBucketPolicyCommand({ Bucket }))),
      failure(client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))),
    ];
    expect(await Promise.all(codes)).toEqual([
      "404 NoSuchPublicAccessBlockConfiguration",
      "404 OwnershipControlsNotFoundError",
      "404 ServerSideEncryptionConfigurationNotFoundError",
      "404 NoSuchBucketPolicy",
      "404 NoSuchLifecycleConfiguration",
    ]);
  });

  const allBlocked = {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  };

  it("is that of Amazon S3 in buckets which are not bare", async () => {
    const { client: real } = await start({ bareBuckets: false });
    await real.send(new CreateBucketCommand({ Bucket }));
    const access = await real.send(new GetPublicAccessBlockCommand({ Bucket }));
    expect(access.PublicAccessBlockConfiguration).toEqual(allBlocked);
    const ownership = await real.send(new GetBucketOwnershipControlsCommand({ Bucket }));
    expect(ownership.OwnershipControls).toEqual({ Rules: [{ ObjectOwnership: "BucketOwnerEnforced" }] });
    await real.send(new DeleteBucketEncryptionCommand({ Bucket }));
    const encryption = await real.send(new GetBucketEncryptionCommand({ Bucket }));
    expect(encryption.ServerSideEncryptionConfiguration?.Rules).toEqual([
      { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" }, BucketKeyEnabled: false },
    ]);
    const reply = await real.send(new PutObjectCommand({ Bucket, Key, Body: "b" }));
    expect(reply.ServerSideEncryption).toBe("AES256");
  });

  it("makes round trips", async () => {
    const PublicAccessBlockConfiguration = { ...allBlocked, IgnorePublicAcls: false };
    await client.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }));
    expect(await client.send(new GetPublicAccessBlockCommand({ Bucket }))).toMatchObject({
      PublicAccessBlockConfiguration,
    });
    await client.send(new DeletePublicAccessBlockCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.publicAccessBlock).toBeUndefined();

    const OwnershipControls = { Rules: [{ ObjectOwnership: "ObjectWriter" as const }] };
    await client.send(new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls }));
    expect(await client.send(new GetBucketOwnershipControlsCommand({ Bucket }))).toMatchObject({ OwnershipControls });
    await client.send(new DeleteBucketOwnershipControlsCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.ownership).toBeUndefined();

    const kms = { SSEAlgorithm: "aws:kms" as const, KMSMasterKeyID: "key" };
    const ServerSideEncryptionConfiguration = {
      Rules: [{ ApplyServerSideEncryptionByDefault: kms, BucketKeyEnabled: true }],
    };
    await client.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration }));
    expect(await client.send(new GetBucketEncryptionCommand({ Bucket }))).toMatchObject({
      ServerSideEncryptionConfiguration,
    });
    expect(await put()).toMatchObject({ ServerSideEncryption: "aws:kms", SSEKMSKeyId: "key" });
    expect(stored()?.etag).not.toBe(createHash("md5").update("content").digest("hex"));
    await client.send(new DeleteBucketEncryptionCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.encryption).toBeUndefined();

    const rule = {
      Status: "Enabled" as const,
      Filter: { Prefix: "a&b/" },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
    };
    await client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket,
        LifecycleConfiguration: { Rules: [{ ...rule, ID: "one" }, rule] },
      }),
    );
    const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }));
    expect(Rules).toEqual([
      { ...rule, ID: "one" },
      { ...rule, ID: expect.stringMatching(/.{20}/) },
    ]);
    await client.send(new DeleteBucketLifecycleCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.lifecycle).toBeUndefined();
  });

  const statement = { Effect: "Deny", Principal: "*", Action: "s3:*", Resource: `arn:aws:s3:::${Bucket}/*` };
  const putPolicy = (Policy: string) => client.send(new PutBucketPolicyCommand({ Bucket, Policy }));

  it("may have a policy", async () => {
    const text = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
    expect((await putPolicy(text)).$metadata.httpStatusCode).toBe(204);
    expect((await client.send(new GetBucketPolicyCommand({ Bucket }))).Policy).toBe(text);
    await client.send(new DeleteBucketPolicyCommand({ Bucket }));
    expect(await failure(client.send(new GetBucketPolicyCommand({ Bucket })))).toBe("404 NoSuchBucketPolicy");
  });

  it.each([
    "not json",
    "[]",
    "{}",
    JSON.stringify({ Version: "2020-01-01", Statement: [statement] }),
    JSON.stringify({ Statement: [{ ...statement, Effect: "Forbid" }] }),
    JSON.stringify({ Statement: [{ ...statement, Principal: undefined }] }),
    JSON.stringify({ Statement: [{ ...statement, Resource: "arn:aws:s3:::another/*" }] }),
  ])("refuses the policy %s", async (text) => {
    expect(await failure(putPolicy(text))).toBe("400 MalformedPolicy");
  });

  it("refuses a public policy when those are blocked", async () => {
    const PublicAccessBlockConfiguration = allBlocked;
    await client.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }));
    const text = JSON.stringify({ Statement: { ...statement, Effect: "Allow", Principal: { AWS: "*" } } });
    expect(await failure(putPolicy(text))).toBe("403 AccessDenied");
  });

  it.each([
    ["publicAccessBlock", "<PublicAccessBlockConfiguration/>", "MalformedXML"],
    [
      "publicAccessBlock",
      "<PublicAccessBlockConfiguration><Any>true</Any></PublicAccessBlockConfiguration>",
      "MalformedXML",
    ],
    ["ownershipControls", "<OwnershipControls></OwnershipControls>", "MalformedXML"],
    ["encryption", "<ServerSideEncryptionConfiguration><Rule/></ServerSideEncryptionConfiguration>", "MalformedXML"],
    ["lifecycle", "<LifecycleConfiguration/>", "MalformedXML"],
    ["lifecycle", rules("<Prefix/>"), "MalformedXML"],
    ["lifecycle", rules("<Status>Enabled</Status><Filter/>"), "InvalidRequest"],
    ["lifecycle", rules(`<Status>Enabled</Status><Filter/>${abortAfter("0")}`), "InvalidArgument"],
    ["lifecycle", rules(`<Status>Enabled</Status><Filter><Tag/></Filter>${abortAfter("1")}`), "InvalidRequest"],
    ["lifecycle", rules(...twice(`<ID>a</ID><Status>Enabled</Status><Filter/>${abortAfter("1")}`)), "InvalidArgument"],
    [
      "lifecycle",
      rules(`<ID>${"i".repeat(256)}</ID><Status>Enabled</Status><Filter/>${abortAfter("1")}`),
      "InvalidArgument",
    ],
    ["lifecycle", "<LifecycleConfiguration><Rule></LifecycleConfiguration>", "MalformedXML"],
  ])("refuses %s %s", async (parameter, body, code) => {
    const path = `/${Bucket}?${parameter}`;
    const headers = { "content-md5": createHash("md5").update(body).digest("base64") };
    expect(await rawFailure({ path, body, headers })).toMatch(new RegExp(`^400 (${code})$`));
    expect(await rawFailure({ path, body })).toBe("400 InvalidRequest");
  });
});

function rules(...each: string[]): string {
  return `<LifecycleConfiguration>${each.map((rule) => `<Rule>${rule}</Rule>`).join("")}</LifecycleConfiguration>`;
}
function abortAfter(days: string): string {
  const element = "AbortIncompleteMultipartUpload";
  return `<${element}><DaysAfterInitiation>${days}</DaysAfterInitiation></${element}>`;
}
function twice(rule: string): string[] {
  return [rule, rule];
}
