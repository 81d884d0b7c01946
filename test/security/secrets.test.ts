/**
 * Credentials are planted everywhere they can come from, then every command is made to fail in every way there is:
 * none of them is printed, kept or recorded, whoever says them. Each run has secrets of its own, since what was seen
 * once is known for a secret from then on.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { DynamoDBClient, paginateScan } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type Fault, type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { docproc } from "../support/process.ts";
import { makeSandbox, type Outcome, runDocproc, type Sandbox } from "../support/run.ts";

const mebibyte = 1024 * 1024;

interface Secrets {
  readonly keyId: string;
  readonly secret: string;
  readonly token: string;
}

/** Of the form that Amazon's have. */
function newSecrets(): Secrets {
  const letters = (length: number) =>
    [...randomBytes(length)].map((byte) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[byte % 32]).join("");
  return {
    keyId: `AKIA${letters(16)}`,
    // Slashes and plus signs are what makes them hard to find.
    secret: `${randomBytes(12).toString("base64")}/+${randomBytes(12).toString("base64")}`.slice(0, 40),
    token: `IQoJb3JpZ2luX2VjE${randomBytes(120).toString("base64")}/+/==`,
  };
}

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** Where a text has a secret, or enough of one to matter. */
function leaks(text: string, { keyId, secret, token }: Secrets): string[] {
  const parts = {
    "key id": keyId.slice(4),
    secret,
    "secret's end": secret.slice(-16),
    token,
    "token's end": token.slice(-40),
  };
  return Object.entries(parts).flatMap(([what, part]) => (text.includes(part) ? [what] : []));
}

function expectNoLeak(outcome: Pick<Outcome, "stdout" | "stderr">, secrets: Secrets, what: object): void {
  expect({ ...what, stdout: leaks(outcome.stdout, secrets), stderr: leaks(outcome.stderr, secrets) }).toEqual({
    ...what,
    stdout: [],
    stderr: [],
  });
}

/** Everything that docproc wrote below the sandbox, in one text. */
async function everythingWritten({ root }: Sandbox): Promise<string> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !entry.parentPath.endsWith(".aws"));
  return (await Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), "latin1")))).join("\n");
}

async function everythingRecorded(table: string): Promise<string> {
  const client = new DynamoDBClient({ endpoint: aws.endpoint });
  const pages: string[] = [];
  try {
    for await (const { Items } of paginateScan({ client }, { TableName: table })) pages.push(JSON.stringify(Items));
  } finally {
    client.destroy();
  }
  return pages.join("\n");
}

/** A library on AWS with a document in it, and a proxy in front that fails as told. */
async function open() {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  await writeFile(join(sandbox.cwd, "small.txt"), "small");
  await writeFile(join(sandbox.cwd, "large.bin"), randomBytes(11 * mebibyte));
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", bucket];
  for (const argv of [
    ["init", ...flags],
    ["upload", "small.txt", "--name", "stored.txt"],
  ]) {
    expect(await runDocproc(sandbox, argv)).toMatchObject({ status: 0 });
  }
  return { sandbox, bucket, proxy };
}

/** Sets the process's own credentials, where the SDK looks for them, for one run. */
async function withSecrets<T>(secrets: Secrets, run: (env: Record<string, string>) => Promise<T>): Promise<T> {
  const env = {
    AWS_ACCESS_KEY_ID: secrets.keyId,
    AWS_SECRET_ACCESS_KEY: secrets.secret,
    AWS_SESSION_TOKEN: secrets.token,
  };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  try {
    return await run(env);
  } finally {
    vi.unstubAllEnvs();
  }
}

/** Says everything it was told, and what it must not know. A server can only repeat what reached it. */
const asXml = (code: string, text: string) =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${text.replace(/[<&]/g, "_")}</Message></Error>`;
const asJson = (code: string, text: string) => JSON.stringify({ __type: `x#${code}`, message: text });

function echo(
  status: number,
  code: string,
  sayWhat: (headers: IncomingMessage["headers"], secrets: Secrets) => string,
) {
  return (secrets: Secrets): Fault => ({
    kind: "answer",
    reply(response: ServerResponse, { headers }: IncomingMessage) {
      const said = sayWhat(headers, secrets);
      const inJson = headers["x-amz-target"] !== undefined;
      const requestId = String(headers["x-amz-security-token"] ?? "none");
      response.writeHead(status, {
        "content-type": inJson ? "application/x-amz-json-1.0" : "application/xml",
        // As somebody who logs request ids would like it.
        "x-amz-request-id": requestId,
        "x-amzn-requestid": requestId,
      });
      response.end(inJson ? asJson(code, said) : asXml(code, said));
    },
  });
}

const everyHeader = (headers: IncomingMessage["headers"]) =>
  Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}`)
    .join("\n");

const faults: Record<string, (secrets: Secrets) => Fault> = {
  "a key id that is unknown": echo(403, "InvalidAccessKeyId", (_headers, { keyId }) => `No such id: ${keyId}`),
  "a signature that does not match": echo(
    403,
    "SignatureDoesNotMatch",
    ({ authorization }, { keyId, token }) => `${authorization} AWSAccessKeyId=${keyId} x-amz-security-token:${token}`,
  ),
  "a server that repeats every header": echo(418, "Teapot", everyHeader),
  "a server that repeats them in its error's name": (secrets) =>
    echo(400, `X${secrets.keyId}${secrets.token.replace(/[^\w]/g, "")}`, everyHeader)(secrets),
  "a server that repeats the token by itself": echo(
    500,
    "InternalError",
    (headers) => `${headers["x-amz-security-token"]}`,
  ),
  "an address with the token in it": echo(
    400,
    "AuthorizationQueryParametersError",
    (_headers, { token, keyId }) =>
      `https://b.s3.amazonaws.com/k?X-Amz-Credential=${keyId}/x&X-Amz-Security-Token=${encodeURIComponent(token)}&X-Amz-Signature=abc`,
  ),
  "a page of something else": (secrets) => ({
    kind: "answer",
    reply: (response) => void response.writeHead(200).end(`<html><body>${secrets.token} ${secrets.keyId}`),
  }),
  "a connection that breaks": () => ({ kind: "reset" }),
};

const commands = [
  ["init"],
  ["upload", "small.txt"],
  ["upload", "small.txt", "large.bin", "--part-size", "5MiB"],
  ["list"],
  ["show", "stored.txt"],
  ["download", "stored.txt", "-o", "copy.txt", "--force"],
  ["cat", "stored.txt"],
  ["verify", "--all", "--deep"],
  ["delete", "stored.txt", "--yes"],
  ["doctor", "--repair"],
  ["config"],
];
const forms = [["-v"], ["-v", "--json"], ["--ndjson"]];

describe("a secret is not told", () => {
  test.each(Object.entries(faults))(
    "after %s",
    async (_what, faultOf) => {
      const { sandbox, bucket, proxy } = await open();
      const written: Secrets[] = [];
      for (const argv of commands) {
        for (const form of argv[0] === "cat" ? [["-v"]] : forms) {
          for (const service of ["s3", "dynamodb"] as const) {
            const secrets = newSecrets();
            written.push(secrets);
            proxy.inject({ operation: (request) => request.service === service, action: faultOf(secrets) });
            const outcome = await withSecrets(secrets, (env) =>
              runDocproc(sandbox, [...argv, ...form, "--retries", "0"], { env }),
            );
            proxy.clear();
            expectNoLeak(outcome, secrets, { argv, form, service });
          }
        }
      }
      const kept = `${await everythingWritten(sandbox)}\n${await everythingRecorded(bucket)}`;
      expect(written.flatMap((secrets) => leaks(kept, secrets))).toEqual([]);
    },
    120_000,
  );

  /** The program as a process, with credentials in the files where people keep them. */
  async function withProfile(secrets: Secrets) {
    const { sandbox, bucket, proxy } = await open();
    await mkdir(join(sandbox.home, ".aws"));
    const credentials = join(sandbox.home, ".aws", "credentials");
    const { keyId, secret, token } = secrets;
    const lines = [`aws_access_key_id = ${keyId}`, `aws_secret_access_key = ${secret}`, `aws_session_token = ${token}`];
    await writeFile(credentials, ["[work]", ...lines, ""].join("\n"));
    const env = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
    const run = (...argv: string[]) => docproc(sandbox, [...argv, "-v", "--retries", "0"], { env });
    return { sandbox, bucket, proxy, credentials, run };
  }

  const failing = (proxy: FaultProxy, fault: Fault) => {
    proxy.clear();
    proxy.inject({ action: fault });
  };

  test("that is in a credentials file, by a process of its own", async () => {
    const secrets = newSecrets();
    const { sandbox, bucket, proxy, run } = await withProfile(secrets);
    expect(await run("upload", "small.txt", "--profile", "work")).toMatchObject({ status: 0 });
    for (const faultOf of Object.values(faults)) {
      failing(proxy, faultOf(secrets));
      expectNoLeak(await run("upload", "small.txt", "--name", "b", "--profile", "work", "--json"), secrets, {});
    }
    const kept = `${await everythingWritten(sandbox)}\n${await everythingRecorded(bucket)}`;
    expect(leaks(kept, secrets)).toEqual([]);
  });

  test("by a credentials file that is taken for a config file, or broken", async () => {
    const secrets = newSecrets();
    const { sandbox, credentials, run } = await withProfile(secrets);
    for (const name of ["credentials.json", "credentials.yaml", "credentials"]) {
      await writeFile(join(sandbox.cwd, name), await readFile(credentials));
      const outcome = await run("list", "--config", name);
      expect(outcome.status).toBe(2);
      expectNoLeak(outcome, secrets, { name });
    }
    const { keyId, secret, token } = secrets;
    const broken = [
      `[work]\n${keyId}\n${secret}`,
      `[work\naws_secret_access_key = ${secret}\n`,
      `${secret}\n${token}\n`,
    ];
    for (const content of broken) {
      await writeFile(credentials, content);
      expectNoLeak(await run("list", "--profile", "work"), secrets, { content: content.slice(0, 6) });
      await writeFile(join(sandbox.cwd, ".docprocrc.yaml"), content);
      await writeFile(join(sandbox.cwd, "broken.json"), `{"aws_secret_access_key": "${secret}", "t": ${token}`);
      for (const file of [".docprocrc.yaml", "broken.json"]) {
        const outcome = await run("list", "--config", file);
        expect(outcome.status).toBe(2);
        expectNoLeak(outcome, secrets, { file, content: content.slice(0, 6) });
      }
    }
  });

  test("by a program that was asked for credentials", async () => {
    const secrets = newSecrets();
    const { sandbox, proxy, run } = await withProfile(secrets);
    const { keyId, secret, token } = secrets;
    const answer = { Version: 1, AccessKeyId: keyId, SecretAccessKey: secret, SessionToken: token };
    const answers = [JSON.stringify(answer), JSON.stringify({ ...answer, Version: 2 }), `${secret} is not JSON`];
    for (const said of answers) {
      await writeFile(join(sandbox.home, "said"), said);
      const config = join(sandbox.home, ".aws", "config");
      await writeFile(config, `[profile asked]\ncredential_process = cat ${join(sandbox.home, "said")}\n`);
      for (const fault of [undefined, faults["a server that repeats every header"]?.(secrets)]) {
        proxy.clear();
        if (fault) failing(proxy, fault);
        expectNoLeak(await run("list", "--profile", "asked"), secrets, { said: said.slice(0, 9) });
      }
    }
  });
});

describe("a password in an address", () => {
  const passwords = [
    "hunter2hunter2",
    "p@ss:w@rd",
    "pa/ss/word",
    "pa#ss?word",
    "pa ss'\"word",
    "päss\\wörd",
    "%2e%2f%40",
  ];

  test.each(passwords)("is refused and not repeated: %s", async (password) => {
    const sandbox = await makeSandbox();
    const url = `https://somebody:${password}@s3.example.com/path`;
    await writeFile(join(sandbox.cwd, "endpoint.json"), JSON.stringify({ endpointUrl: url }));
    for (const argv of [
      ["list", "--bucket", "documents", "--endpoint-url", url],
      ["config", "--endpoint-url", url],
      ["config", "--config", "endpoint.json"],
    ]) {
      const outcomes = [await runDocproc(sandbox, [...argv, "-v"]), await runDocproc(sandbox, [...argv, "--json"])];
      for (const { status, stdout, stderr } of outcomes) {
        expect(status).toBeGreaterThan(0);
        expect(`${stdout}${stderr}`).not.toContain(password);
        expect(`${stdout}${stderr}`).not.toContain(JSON.stringify(password).slice(1, -1));
      }
    }
  });

  test.each(["/?token=hunter2", "/#token=hunter2", "/;token=hunter2"])("nor what else lets in: %s", async (rest) => {
    const sandbox = await makeSandbox();
    const env = { AWS_ENDPOINT_URL: `http://127.0.0.1:1${rest}` };
    for (const argv of [["list"], ["list", "--json"], ["config"], ["doctor"], ["init"]]) {
      const library = ["--bucket", "documents", "--table", "documents", "--retries", "0"];
      const outcome = await docproc(sandbox, [...argv, ...library, "-v"], { env });
      expect(`${outcome.stdout}${outcome.stderr}`).not.toContain("hunter2");
    }
    const refused = await runDocproc(sandbox, ["config", "--endpoint-url", `http://127.0.0.1:1${rest}`]);
    expect(refused).toMatchObject({ status: 2, stdout: "" });
    expect(refused.stderr).toContain("it may contain only a host, a port and a path");
    expect(refused.stderr).not.toContain("hunter2");
  });

  test.each(["hunter2hunter2", "p%40ss"])("is not repeated where the SDK takes it: %s", async (password) => {
    const sandbox = await makeSandbox();
    const env = { AWS_ENDPOINT_URL: `http://somebody:${password}@127.0.0.1:1` };
    for (const argv of [["list"], ["list", "--json"], ["config"], ["doctor"], ["init"]]) {
      const outcome = await docproc(sandbox, [...argv, "--bucket", "documents", "--retries", "0", "-v"], { env });
      expect(`${outcome.stdout}${outcome.stderr}`).not.toContain(password);
    }
  });
});
