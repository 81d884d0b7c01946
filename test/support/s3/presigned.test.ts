import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { beforeEach, describe, expect, it } from "vitest";
import { Bucket, connectTo, Key, put, serveEachTest, server, start } from "./harness.ts";

serveEachTest();

type Options = Parameters<typeof getSignedUrl>[2];
const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "test" };
const signed = async (options?: Options, input = {}) =>
  await getSignedUrl(
    connectTo(server.endpoint, { credentials }),
    new GetObjectCommand({ Bucket, Key, ...input }),
    options,
  );

async function answer(url: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  const text = await response.text();
  return response.ok ? `${response.status} ${text}` : `${response.status} ${/<Code>(\w+)/.exec(text)?.[1]}`;
}

describe("an address with a signature", () => {
  beforeEach(async () => {
    await put({ Body: "content" });
  });

  it("is as good as a header, and says how it is answered", async () => {
    const url = await signed({}, { ResponseContentType: "text/x", ResponseContentDisposition: "attachment" });
    const { headers } = await fetch(url);
    expect([headers.get("content-type"), headers.get("content-disposition")]).toEqual(["text/x", "attachment"]);
    expect(await answer(url)).toBe("200 content");
    expect(await answer(await signed({}, { Key: "a b+c/ü'()*!~" }))).toBe("404 NoSuchKey");
  });

  it("is refused when any of it is another", async () => {
    const url = await signed();
    for (const [what, other] of [
      [Key, "a/kez"],
      ["X-Amz-Expires=900", "X-Amz-Expires=901"],
      ["x-id=GetObject", "x-id=HeadObject"],
      [/(Signature=.{63})./, "$1g"],
    ] as const) {
      expect(await answer(url.replace(what, other)), String(what)).toBe("403 SignatureDoesNotMatch");
    }
    expect(await answer(url, { method: "PUT", body: "" })).toBe("403 SignatureDoesNotMatch");
    const other = await start({ secretAccessKey: "another" });
    expect(await answer(url.replace(server.endpoint, other.server.endpoint))).toBe("403 SignatureDoesNotMatch");
  });

  it("is refused outside of its time", async () => {
    const at = (minutes: number) => new Date(Date.now() + minutes * 60_000);
    expect(await answer(await signed({ signingDate: at(-16) }))).toBe("403 AccessDenied");
    expect(await answer(await signed({ signingDate: at(-16), expiresIn: 1200 }))).toBe("200 content");
    expect(await answer(await signed({ signingDate: at(20) }))).toBe("403 AccessDenied");
    const week = (await signed({ expiresIn: 604_800 })).replace("=604800", "=604801");
    expect(await answer(week)).toBe("400 AuthorizationQueryParametersError");
  });

  it("is refused when it is malformed, or comes with a header as well", async () => {
    const url = await signed();
    for (const [what, other] of [
      ["us-east-1", "eu-west-1"],
      ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"],
      [/X-Amz-Date=[^&]*/, "X-Amz-Date=today"],
      [/&X-Amz-Expires=900/, ""],
    ] as const) {
      expect(await answer(url.replace(what, other)), String(what)).toBe("400 AuthorizationQueryParametersError");
    }
    expect(await answer(url, { headers: { authorization: "AWS4-HMAC-SHA256 x" } })).toBe("400 InvalidArgument");
  });

  it("wants x-amz- headers signed, and ignores a checksum that is not sent as one", async () => {
    expect(await answer(await signed(), { headers: { "x-amz-checksum-mode": "ENABLED" } })).toBe("403 AccessDenied");
    const client = connectTo(server.endpoint, { credentials });
    const command = new PutObjectCommand({ Bucket, Key: "b", ChecksumSHA256: Buffer.alloc(32).toString("base64") });
    const sent = { method: "PUT", body: "anything" };
    expect(await answer(await getSignedUrl(client, command), sent)).toBe("200 ");
    const unhoistableHeaders = new Set(["x-amz-checksum-sha256"]);
    const held = await getSignedUrl(client, command, { unhoistableHeaders });
    expect(await answer(held, sent)).toBe("403 SignatureDoesNotMatch");
    const headers = { "x-amz-checksum-sha256": Buffer.alloc(32).toString("base64") };
    expect(await answer(held, { ...sent, headers })).toBe("400 BadDigest");
  });
});
