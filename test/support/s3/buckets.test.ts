import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetBucketLocationCommand,
  GetBucketPolicyCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { Bucket, client, failure, Key, put, raw, rawFailure, serveEachTest, server, start } from "./harness.ts";

serveEachTest();

describe("buckets", () => {
  it("are created, found, listed and deleted", async () => {
    await client.send(new CreateBucketCommand({ Bucket }));
    const head = await client.send(new HeadBucketCommand({ Bucket }));
    expect(head.BucketRegion).toBe("us-east-1");
    for (const name of ["zebra", "document-1", "document-2"])
      await client.send(new CreateBucketCommand({ Bucket: name }));
    const first = await client.send(new ListBucketsCommand({ Prefix: "document", MaxBuckets: 2 }));
    expect(first.Buckets?.map(({ Name }) => Name)).toEqual(["document-1", "document-2"]);
    const { ContinuationToken } = first;
    const second = await client.send(new ListBucketsCommand({ Prefix: "document", MaxBuckets: 2, ContinuationToken }));
    expect(second.Buckets?.map(({ Name }) => Name)).toEqual([Bucket]);
    expect(second.ContinuationToken).toBeUndefined();
    await put();
    const versions = await client.send(new ListObjectVersionsCommand({ Bucket, EncodingType: "url" }));
    expect(versions).toMatchObject({ IsTruncated: false, Versions: [{ Key, VersionId: "null", IsLatest: true }] });
    expect(versions.DeleteMarkers).toBeUndefined();
    expect(await failure(client.send(new DeleteBucketCommand({ Bucket })))).toBe("409 BucketNotEmpty");
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    await client.send(new DeleteBucketCommand({ Bucket }));
    expect(await failure(client.send(new DeleteBucketCommand({ Bucket })))).toBe("404 NoSuchBucket");
    expect(await failure(client.send(new HeadBucketCommand({ Bucket })))).toBe("404 NotFound");
    expect(await failure(put())).toBe("404 NoSuchBucket");
  });

  it("belong to the region of the server", async () => {
    const europe = await start({ region: "eu-west-1" }, { region: "eu-west-1" });
    const create = (LocationConstraint?: "eu-west-1" | "eu-west-3") =>
      failure(
        europe.client.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint } })),
      );
    expect(await create("eu-west-3")).toBe("400 IllegalLocationConstraintException");
    expect(await create()).toBe("no failure");
    expect(await create()).toBe("409 BucketAlreadyOwnedByYou");
    const location = await europe.client.send(new GetBucketLocationCommand({ Bucket }));
    expect(location.LocationConstraint).toBe("eu-west-1");
    expect((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint).toBeFalsy();
    const constrained = (name: "eu-west-1" | "us-east-1") =>
      raw({
        path: "/other-bucket",
        body: `<CreateBucketConfiguration><LocationConstraint>${name}</LocationConstraint></CreateBucketConfiguration>`,
      });
    expect((await constrained("eu-west-1")).code).toBe("IllegalLocationConstraintException");
    expect((await constrained("us-east-1")).code).toBe("InvalidLocationConstraint");
  });

  it.each(["ab", "Upper", "under_score", "-start", "end-", "a..b", "192.168.0.1", "xn--bucket"])(
    "cannot be called %s",
    async (name) => {
      expect(await rawFailure({ path: `/${name}` })).toBe("400 InvalidBucketName");
    },
  );

  it("may be created with an object ownership", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "owned", ObjectOwnership: "ObjectWriter" }));
    expect(server.buckets.get("owned")?.ownership).toBe("ObjectWriter");
    const wrong = { path: "/disowned", headers: { "x-amz-object-ownership": "Nobody" } };
    expect(await rawFailure(wrong)).toBe("400 InvalidArgument");
  });

  it("of others are out of reach", async () => {
    const { client: shared } = await start({ foreignBuckets: [Bucket] });
    expect(await failure(shared.send(new CreateBucketCommand({ Bucket })))).toBe("409 BucketAlreadyExists");
    expect(await failure(shared.send(new HeadBucketCommand({ Bucket })))).toMatch(/^403 /);
    expect(await failure(shared.send(new PutObjectCommand({ Bucket, Key, Body: "b" })))).toBe("403 AccessDenied");
    expect(await failure(shared.send(new GetBucketPolicyCommand({ Bucket })))).toBe("403 AccessDenied");
    expect((await shared.send(new ListBucketsCommand({}))).Buckets ?? []).toEqual([]);
  });

  it("are checked for their owner", async () => {
    const owned = (ExpectedBucketOwner: string) => failure(put({ ExpectedBucketOwner }));
    expect(await owned("123456789012")).toBe("no failure");
    expect(await owned("210987654321")).toBe("403 AccessDenied");
    expect(await owned("me")).toBe("400 InvalidBucketOwnerAWSAccountID");
  });
});
