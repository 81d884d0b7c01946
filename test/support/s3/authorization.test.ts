import { ListBucketsCommand } from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { Bucket, connectTo, failure, raw, rawFailure, serveEachTest, server, start } from "./harness.ts";

serveEachTest();

describe("authorization", () => {
  it("refuses a request without or with another kind of it", async () => {
    expect(await rawFailure({ authorization: () => undefined })).toBe("403 AccessDenied");
    expect(await rawFailure({ authorization: () => "AWS AKIDEXAMPLE:abc=" })).toBe("400 InvalidRequest");
    expect(await rawFailure({ headers: { "x-amz-date": undefined } })).toBe("403 AccessDenied");
    expect(server.buckets.get(Bucket)?.objects.size).toBe(0);
  });

  it.each([
    ["Signature", (usual: string) => usual.replace(/, Signature.*/, "")],
    ["signature of the wrong length", (usual: string) => usual.slice(0, -1)],
    ["SignedHeaders", (usual: string) => usual.replace(/SignedHeaders=[^,]*/, "")],
    ["Credential", (usual: string) => usual.replace("/aws4_request", "")],
    ["service", (usual: string) => usual.replace("/s3/", "/sts/")],
    ["date", (usual: string) => usual.replace(/\/\d{8}\//, "/20200101/")],
  ])("refuses a header malformed in its %s", async (_what, authorization) => {
    expect(await rawFailure({ authorization })).toBe("400 AuthorizationHeaderMalformed");
  });

  it("refuses another region and names the right one", async () => {
    const elsewhere = connectTo(server.endpoint, { region: "eu-west-1" });
    const error = await elsewhere.send(new ListBucketsCommand({})).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "AuthorizationHeaderMalformed", Region: "us-east-1" });
    const reply = await raw({ authorization: (usual) => usual.replace("us-east-1", "eu-west-1") });
    expect(reply.text).toContain("<Region>us-east-1</Region>");
  });

  it("refuses an unknown key id when it knows one", async () => {
    const strict = await start({ accessKeyId: "AKIDOTHER" });
    expect(await failure(strict.client.send(new ListBucketsCommand({})))).toBe("403 InvalidAccessKeyId");
  });

  it("refuses x-amz- headers that are not signed, and old requests", async () => {
    const authorization = (usual: string) => usual.replace(";x-amz-date", "");
    expect(await rawFailure({ authorization })).toBe("403 AccessDenied");
    const old = { headers: { "x-amz-date": "20200101T000000Z" } };
    const dated = (usual: string) => usual.replace(/\/\d{8}\//, "/20200101/");
    expect(await rawFailure({ ...old, authorization: dated })).toBe("403 RequestTimeTooSkewed");
  });
});
