/** `docproc url`: a link that reads a document, or restores its bytes, without credentials. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { DeleteObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { parse } from "content-disposition";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { DocumentRecord } from "../../../src/document/record.ts";
import { awsEndpoints, startInRepoAws } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, usePlace } from "../../support/library.ts";
import { findOnPath } from "../../support/on-path.ts";
import { runDocproc } from "../../support/run.ts";

/** Loses the bytes of a document behind the catalog's back. */
async function lose({ uri }: DocumentRecord, endpoint: string | undefined): Promise<void> {
  const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
  const client = new S3Client({ endpoint: endpoint ?? "", forcePathStyle: true });
  await client.send(new DeleteObjectCommand({ Bucket, Key }));
  client.destroy();
}

async function statusOf(response: Promise<Response>): Promise<string> {
  const { status } = await response;
  const text = await (await response).text();
  return `${status} ${/<Code>(\w+)/.exec(text)?.[1] ?? ""}`.trim();
}

describe.each(Object.entries(awsEndpoints()))("a link on %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("reads a document under its name and type, and is alone on stdout", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const bytes = randomBytes(100_000);
    const { id } = await upload('März "2026" 日本.pdf', bytes, "--content-type", "application/pdf");
    const outcome = await run(["url", id]);
    expect(outcome).toMatchObject({ status: 0, stderr: "", stdout: expect.stringMatching(/^http\S+\n$/) });
    const response = await fetch(outcome.stdout.trim());
    expect(response.status).toBe(200);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(bytes);
    expect(response.headers.get("content-type")).toBe("application/pdf");
    const asked = new URL(outcome.stdout.trim()).searchParams.get("response-content-disposition") ?? "";
    expect(asked).toMatch(/^[ -~]+$/);
    expect(parse(asked)).toMatchObject({ type: "attachment", parameters: { filename: 'März "2026" 日本.pdf' } });
    // moto answers without it.
    expect([asked, null]).toContain(response.headers.get("content-disposition"));
  });

  test("is described for programs, and prints the id with -q", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const { id } = await upload("a.txt", "a");
    const before = Date.now();
    const { stdout, ...outcome } = await run(["url", "a.txt", "--expires-in", "7d", "--json"]);
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    const link = JSON.parse(stdout);
    expect(Object.keys(link)).toEqual(["schema", "id", "path", "method", "url", "headers", "expiresAt"]);
    expect(link).toMatchObject({ schema: "docproc.url/1", id, path: "a.txt", method: "GET", headers: {} });
    expect(Math.abs(Date.parse(link.expiresAt) - before - 7 * 86_400_000)).toBeLessThan(30_000);
    expect(new URL(link.url).searchParams.get("X-Amz-Expires")).toBe("604800");
    expect(link.url).not.toContain("x-amz-checksum");
    expect((await run(["url", "a.txt", "-q"])).stdout).toBe(`${id}\n`);
  });

  test("is not made for bytes that are gone, nor for a document that there is not", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await lose(await upload("a.txt", "a"), endpoint());
    for (const reference of ["a.txt", "b.txt"]) {
      const outcome = await run(["url", reference, "--json"]);
      expect(outcome.status).toBe(3);
      expect(outcome.json()).toMatchObject({ code: "NOT_FOUND" });
    }
  });

  test("to put bytes is not made while they are there", async () => {
    const { run, upload, settings } = await openLibrary(endpoint());
    await upload("a.txt", "a");
    const outcome = await run(["url", "a.txt", "--put", "--json"]);
    // An endpoint that holds nobody to what is signed gets no such link at all.
    const { action } = (await run(["init", "--json"]))
      .json()
      .resources.find(({ kind }: { kind: string }) => kind === "checksums");
    expect(outcome.json()).toMatchObject({ code: action === "exists" ? "CONFLICT" : "USAGE" });
    expect(settings.storage).toBe("s3");
  });
});

describe("a link", () => {
  const endpoint = usePlace(() => startInRepoAws());

  test("that was altered, or is over, is refused", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await upload("a.txt", "a");
    await upload("b.txt", "b");
    const link = async (...argv: string[]) => (await run(["url", ...argv])).stdout.trim();
    const a = await link("a.txt", "--expires-in", "10");
    const answer = await fetch(a);
    const b = await link("b.txt");
    const path = (url: string) => new URL(url).pathname;
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-disposition")).toBe("attachment; filename=a.txt");
    expect(await statusOf(fetch(b.replace(path(b), path(a))))).toBe("403 SignatureDoesNotMatch");
    expect(await statusOf(fetch(b.replace("X-Amz-Expires=900", "X-Amz-Expires=9000")))).toBe(
      "403 SignatureDoesNotMatch",
    );
    expect(await statusOf(fetch(b.replace("text%2Fplain", "text%2Fhtml")))).toBe("403 SignatureDoesNotMatch");
    expect(await statusOf(fetch(b, { method: "DELETE" }))).toBe("403 SignatureDoesNotMatch");
    await expect.poll(() => statusOf(fetch(a))).toBe("403 AccessDenied");
    expect(await statusOf(fetch(b))).toBe("200");
  });

  test("to put lost bytes can put those, once, and nothing else", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const bytes = randomBytes(50_000);
    const record = await upload("a.bin", bytes);
    await lose(record, endpoint());
    expect((await run(["verify", "a.bin"])).status).toBe(6);
    const { url, headers, method } = (await run(["url", "a.bin", "--put", "--json"])).json();
    expect({ method, headers }).toMatchObject({
      method: "PUT",
      headers: {
        "content-type": record.contentType,
        "if-none-match": "*",
        "x-amz-checksum-sha256": Buffer.from(record.sha256, "hex").toString("base64"),
        "x-amz-expected-bucket-owner": "123456789012",
      },
    });
    const put = (body: Buffer, sent: Record<string, string> = headers) =>
      statusOf(fetch(url, { method: "PUT", headers: sent, body: new Uint8Array(body) }));
    expect(await put(randomBytes(50_000))).toBe("400 BadDigest");
    expect(await put(Buffer.alloc(0))).toBe("400 BadDigest");
    for (const name of Object.keys(headers)) {
      const { [name]: _, ...others } = headers;
      expect(await put(bytes, others), `without ${name}`).toBe("403 SignatureDoesNotMatch");
    }
    const other = { "x-amz-checksum-sha256": Buffer.alloc(32).toString("base64") };
    expect(await put(Buffer.alloc(0), { ...headers, ...other })).toBe("403 SignatureDoesNotMatch");
    expect(await put(bytes)).toBe("200");
    expect(await put(bytes)).toBe("412 PreconditionFailed");
    expect(await run(["verify", "--deep", "a.bin"])).toMatchObject({ status: 0 });
    expect((await run(["cat", "a.bin"])).status).toBe(0);
    // It is marked as this catalog's, and says its type, like one that was uploaded.
    expect(await run(["doctor"])).toMatchObject({ status: 0 });
    expect((await fetch((await run(["url", "a.bin"])).stdout.trim())).headers.get("content-type")).toBe(
      record.contentType,
    );
  });

  test.skipIf(!findOnPath("curl"))("to put lost bytes is used with curl as the note says", async () => {
    const { run, upload, sandbox } = await openLibrary(endpoint());
    const record = await upload("it's a file.txt", "curl me", "--content-type", "text/plain; of='$(exit 1)'");
    await lose(record, endpoint());
    const { stdout, stderr } = await run(["url", record.id, "--put"]);
    const [, command = ""] = /with: (curl .*)\n/.exec(stderr) ?? [];
    expect(command).toMatch(/^curl -fT FILE -H .* URL$/);
    expect(stderr).not.toContain("X-Amz-Signature");
    const file = join(sandbox.root, "file");
    await writeFile(file, "curl me");
    const script = command.replace("FILE", `'${file}'`).replace(/URL$/, `'${stdout.trim()}'`);
    await promisify(execFile)("bash", ["-c", script]);
    expect((await run(["cat", record.id])).stdout).toBe("curl me");
    await expect(promisify(execFile)("bash", ["-c", script])).rejects.toThrow(/412/);
  });

  test("to put is refused where the endpoint is known not to look", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await lose(await upload("a.txt", "a"), endpoint());
    const outcome = await run(["url", "a.txt", "--put", "--json"], { env: { DOCPROC_UNSUPPORTED: "checksums" } });
    expect(outcome.json()).toMatchObject({ code: "USAGE", message: expect.stringContaining("checksums") });
  });

  test("ends with temporary credentials, and says so", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await upload("a.txt", "a");
    vi.stubEnv("AWS_SESSION_TOKEN", "a-session-token-of-this-test");
    onTestFinished(() => void vi.unstubAllEnvs());
    const unknown = await run(["url", "a.txt"]);
    expect(unknown.stderr).toMatch(/temporary credentials that signed it, at an unknown time/);
    expect(unknown.stdout).toContain("X-Amz-Security-Token=");
    const end = new Date(Date.now() + 600_000).toISOString();
    vi.stubEnv("AWS_CREDENTIAL_EXPIRATION", end);
    const early = await run(["url", "a.txt", "--expires-in", "1h"]);
    expect(early.stderr).toContain(`The URL expires earlier, at ${end}`);
    expect((await run(["url", "a.txt", "--expires-in", "1h", "--json"])).json().expiresAt).toBe(end);
    expect((await run(["url", "a.txt", "--expires-in", "1h", "--ndjson"])).stderr).toContain(end);
    expect(await run(["url", "a.txt", "--expires-in", "5m"])).toMatchObject({ status: 0, stderr: "" });
  });

  test("is dated by the clock of S3", async () => {
    const { sandbox, upload } = await openLibrary(endpoint());
    await upload("a.txt", "a");
    const proxy = await startFaultProxy(endpoint() ?? "");
    onTestFinished(() => proxy.close());
    proxy.inject({ action: { kind: "shift-date", ms: 7_200_000 } });
    const outcome = await runDocproc(sandbox, ["url", "a.txt", "--json", "--endpoint-url", proxy.endpoint]);
    expect(Date.parse(outcome.json().expiresAt) - Date.now()).toBeGreaterThan(7_200_000 + 800_000);
  });
});

test.each(["0", "-1", "8d", "604801", "soon", "", "1e3x", "0.4s"])(
  "an expiry of %j is refused before any look-up",
  async (time) => {
    const { run } = await openLibrary();
    const outcome = await run(["url", "a.txt", `--expires-in=${time}`, "--json"]);
    expect(outcome.status).toBe(2);
    expect(outcome.json()).toMatchObject({ code: "USAGE", hint: expect.stringContaining("seven days") });
  },
);

test("a document in a directory has no link, and is downloaded instead", async () => {
  const { run, upload } = await openLibrary();
  await upload("a.txt", "a");
  for (const argv of [
    ["url", "a.txt"],
    ["url", "a.txt", "--put"],
  ]) {
    const outcome = await run([...argv, "--json"]);
    expect(outcome.status).toBe(2);
    expect(outcome.json()).toMatchObject({ code: "USAGE", hint: expect.stringContaining("docproc download") });
  }
});
