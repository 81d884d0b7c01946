/**
 * A server that answers whatever it likes. Each command ends, soon and in little memory, with a status that means
 * something; a bug of ours is never what a server can make of it, and no file appears where nobody asked for one.
 */
import { readdir, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type FaultRule, startFaultProxy } from "../support/fault-proxy.ts";
import { docproc } from "../support/process.ts";
import { randomNumbers } from "../support/random.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";
import { certificate, startTlsProxy } from "../support/tls-proxy.ts";

const mebibyte = 1024 * 1024;
let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

type Reply = (response: ServerResponse, incoming: IncomingMessage) => unknown;

/** A library with a document, and a proxy in front of it whose answers can be taken over. */
async function open() {
  const sandbox = await makeSandbox();
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  await writeFile(join(sandbox.cwd, "small.txt"), "small");
  await writeFile(join(sandbox.cwd, "large.bin"), Buffer.alloc(11 * mebibyte));
  const bucket = awsSettings("").bucket ?? "";
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", bucket];
  for (const argv of [
    ["init", ...flags],
    ["upload", "small.txt", "--name", "stored.txt"],
  ]) {
    expect(await runDocproc(sandbox, argv)).toMatchObject({ status: 0 });
  }
  const takeOver = (which: FaultRule["operation"] & {}, reply: Reply, times?: number) =>
    proxy.inject({
      operation: which,
      ...(times !== undefined && { nth: 1, times }),
      action: { kind: "answer", reply: (to, from) => void reply(to, from) },
    });
  return { sandbox, bucket, proxy, takeOver };
}

/** Names below the sandbox, but for the download's own place. */
async function everythingBut(sandbox: Sandbox): Promise<string[]> {
  const names = await readdir(sandbox.root, { recursive: true });
  return names.filter((name) => !/^(cwd\/copy|state)/.test(name)).sort();
}

const commands = [
  ["init"],
  ["upload", "small.txt"],
  ["upload", "large.bin", "--part-size", "5MiB"],
  ["list", "--all"],
  ["list", "--name", "stored.txt"],
  ["show", "stored.txt"],
  ["download", "stored.txt", "-o", "copy", "--force"],
  ["verify", "--all", "--deep"],
  ["delete", "nothing", "--yes"],
  ["doctor", "--repair"],
];
const limits = ["--retries", "0", "--timeout", "2s"];

/** Runs a command that a hostile server answers, and looks at how it ends. */
async function expectBearable(sandbox: Sandbox, argv: readonly string[], what: object = {}) {
  const outcome = await runDocproc(sandbox, [...argv, ...limits, "--json"]);
  const failure = outcome.stderr === "" ? null : JSON.parse(outcome.stderr.trimEnd().split("\n").at(-1) ?? "");
  const code = failure?.code ?? "none";
  expect({ argv, ...what, code, message: failure?.message }).not.toMatchObject({ code: "INTERNAL" });
  expect(outcome.stderr).not.toMatch(/^\s+at /m);
  expect(() => outcome.json()).not.toThrow();
  return outcome;
}

const next = randomNumbers(22);
const noise = (length: number) => Buffer.from(Array.from({ length }, () => Math.floor(next() * 256)));
const laughs = (open: string, close: string, one: (n: number) => string) =>
  `${open}${Array.from({ length: 12 }, (_, n) => one(n)).join("")}${close}`;

/** Something in so many brackets of a kind. */
const deep = (open: string, close: string, times: number, inside = "") =>
  `${open.repeat(times)}${inside}${close.repeat(times)}`;

const replies: Record<string, Reply> = {
  "random bytes": (to) => to.writeHead(200).end(noise(5_000)),
  "random bytes in an error": (to) => to.writeHead(400).end(noise(5_000)),
  nothing: (to) => to.writeHead(200).end(),
  "nothing in an error": (to) => to.writeHead(500).end(),
  "a page of HTML": (to) => to.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><p>Welcome<br>"),
  "a page of HTML in an error": (to) => to.writeHead(502).end("<html><h1>502 Bad Gateway</h1>"),
  "half an XML": (to) => to.writeHead(200).end("<ListBucketResult><Contents><Key>a"),
  "other XML": (to) => to.writeHead(200).end("<a><b>c</b><b/><b x='y'>&amp;</b></a>"),
  "an XML with everything twice": (to) =>
    to.writeHead(200).end("<R><Key>a</Key><Key>b</Key><UploadId/><UploadId/></R>"),
  "half a JSON": (to) => to.writeHead(200).end('{"Items": [{"pk": {"S": "a'),
  "JSON null": (to) => to.writeHead(200).end("null"),
  "a JSON number": (to) => to.writeHead(200).end("1e999"),
  "a JSON list": (to) => to.writeHead(200).end("[[[]]]"),
  "JSON of other types": (to) => to.writeHead(200).end('{"Items": 1, "Item": "x", "Table": [], "LastEvaluatedKey": 2}'),
  "JSON with items of other types": (to) =>
    to.writeHead(200).end('{"Items": [null, 1, "x", [], {}], "Item": {"pk": null}}'),
  "JSON for an object's family": (to) =>
    to.writeHead(200).end('{"__proto__": {"Items": []}, "Item": {"__proto__": {"S": "x"}}}'),
  "an error without a name": (to) => to.writeHead(400).end('{"__type": null, "message": {"a": 1}}'),
  "an error in XML without a name": (to) => to.writeHead(403).end("<Error><Message><a/></Message></Error>"),
  "an XML that multiplies itself": (to) =>
    to
      .writeHead(200)
      .end(
        `<?xml version="1.0"?>${laughs("<!DOCTYPE a [<!ENTITY l0 'ha'>", "]>", (n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`)}<R>&l12;</R>`,
      ),
  "depth without end in XML": (to) => to.writeHead(200).end("<a>".repeat(200_000)),
  "depth without end in JSON": (to) => to.writeHead(200).end(`{"Items":${"[".repeat(200_000)}${"]".repeat(200_000)}}`),
  "deep XML": (to) =>
    to.writeHead(200).end(`<ListBucketResult>${deep("<Contents>", "</Contents>", 100_000)}</ListBucketResult>`),
  "a deep error in XML": (to) =>
    to.writeHead(400).end(`<Error><Code>X</Code>${deep("<Message>", "</Message>", 100_000)}</Error>`),
  "a deep item in JSON": (to) => {
    const value = deep('{"L":[', "]}", 50_000, '{"S":"x"}');
    to.writeHead(200).end(`{"Items":[{"id":${value}}],"Item":{"id":${value}}}`);
  },
  "a deep error in JSON": (to) => to.writeHead(400).end(`{"__type":"x","message":${deep("[", "]", 100_000)}}`),
  "deep reasons in JSON": (to) => {
    const item = `{"id":${deep('{"M":{"a":', "}}", 50_000, '{"S":"x"}')}}`;
    const reasons = `[{"Code":"None"},{"Code":"ConditionalCheckFailed","Item":${item}}]`;
    to.writeHead(400).end(`{"__type":"x#TransactionCanceledException","CancellationReasons":${reasons}}`);
  },
  "a header that is too long": (to) => to.writeHead(200, { "x-amz-meta-long": "x".repeat(70_000) }).end(),
  "a status that is none": (to) => to.writeHead(999).end(),
  "a way to somewhere else": (to) => to.writeHead(307, { location: "http://127.0.0.1:9/elsewhere" }).end(),
  "a way to another region": (to) => to.writeHead(301, { "x-amz-bucket-region": "../x\u0080y" }).end(),
  "no HTTP": (to) => to.socket?.end("SSH-2.0-OpenSSH_9.9\r\n"),
  "a length that is none": (to) => to.socket?.end("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
  "two lengths": (to) => to.socket?.end("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
  "more than it said": (to) => to.socket?.end("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nabcdefgh"),
  "less than it said": (to) => to.socket?.end("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nab"),
  "a time that is none": (to) => to.writeHead(200, { date: "yesterday", "last-modified": "tomorrow" }).end("{}"),
  "the year 9999": (to) => to.writeHead(403, { date: "Fri, 31 Dec 9999 23:59:59 GMT" }).end(),
};

describe("an invalid response", () => {
  test.each(Object.entries(replies))(
    "crashes no command: %s",
    async (what, reply) => {
      const { sandbox, proxy, takeOver } = await open();
      const before = await everythingBut(sandbox);
      for (const argv of commands) {
        for (const service of ["s3", "dynamodb"]) {
          // A table that never comes to be is waited for, for minutes.
          takeOver((request) => request.service === service, reply, argv[0] === "init" ? 3 : undefined);
          await expectBearable(sandbox, argv, { what, service });
          proxy.clear();
        }
      }
      expect(await everythingBut(sandbox)).toEqual(before);
      expect(Reflect.get({}, "Items")).toBeUndefined();
      // Nothing of it stays: the library is as it was.
      expect((await runDocproc(sandbox, ["verify", "stored.txt", "--deep"])).status).toBe(0);
    },
    120_000,
  );
});

describe("a manipulated record", () => {
  /** What an attribute can become: gone, of every other type, and what no record of ours has. */
  const values: unknown[] = [
    ...[undefined, null, "text", 7, { N: "1" }, { N: "-1" }, { N: "1e400" }, { N: "NaN" }, { N: "1.5" }, { S: "" }],
    ...[{ S: "../../x" }, { S: "a\u0000b" }, { S: "{}" }, { S: '{"a":1}' }, { S: "[" }, { S: "null" }, { S: "\ud800" }],
    ...[{ NULL: true }, { BOOL: true }, { L: [] }, { M: {} }, { B: "AAAA" }, { SS: ["a"] }, { NS: ["1"] }, {}, []],
    { S: "x".repeat(300_000) },
    // As deep as a record has room for, where more than its own is in it.
    { S: `{"kind":"file","path":null,"modifiedAt":null,"git":null,"ci":null,"more":${deep("[", "]", 50_000)}}` },
    { S: deep('{"a":', "}", 50_000, "1") },
  ];
  const fields = [
    ...["pk", "sk", "identity", "size", "name", "contentType", "sha256", "uri"],
    ...["tags", "metadata", "source", "provenance", "crc32"],
  ];

  test.each(fields)(
    "crashes no command: %s",
    async (field) => {
      const { sandbox, bucket, proxy, takeOver } = await open();
      const stored = await itemOf(proxy.endpoint, bucket);
      const before = await everythingBut(sandbox);
      const id = stored["sk"]?.S ?? "";
      for (const value of values) {
        const item = { ...stored, [field]: value };
        const reply: Reply = (to, { headers }) =>
          to
            .writeHead(200)
            .end(JSON.stringify(/GetItem/.test(String(headers["x-amz-target"])) ? { Item: item } : { Items: [item] }));
        takeOver(({ operation }) => operation === "GetItem" || operation === "Query", reply);
        const looking = [["list"], ["show", id], ["download", id, "-o", "copy", "--force"], ["verify", id, "--deep"]];
        for (const argv of [...looking, ["upload", "small.txt", "--name", "stored.txt"]]) {
          const outcome = await expectBearable(sandbox, argv, { field, value: JSON.stringify(value)?.slice(0, 40) });
          expect(outcome.stdout.length).toBeLessThan(4 * mebibyte);
        }
        proxy.clear();
      }
      expect(await everythingBut(sandbox)).toEqual(before);
    },
    120_000,
  );

  type Item = Record<string, { S?: string; N?: string }>;

  /** The record as DynamoDB has it. */
  async function itemOf(endpoint: string, TableName: string): Promise<Item> {
    const client = new DynamoDBClient({ endpoint });
    try {
      const { Items = [] } = await client.send(new ScanCommand({ TableName }));
      return Items.find(({ pk }) => pk?.S?.startsWith("doc#")) as Item;
    } finally {
      client.destroy();
    }
  }
});

describe("a listing of the bucket", () => {
  const listing = (entries: string, more = "") =>
    `<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>${more !== ""}</IsTruncated>${more}${entries}</ListBucketResult>`;
  const entry = (key: string, size: string, time = "2020-01-01T00:00:00.000Z") =>
    `<Contents><Key>${key}</Key><Size>${size}</Size><LastModified>${time}</LastModified></Contents>`;
  const id = "0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee42";

  test.each<[string, string]>([
    [
      "keys that lead out",
      ["../../x", "/etc/passwd", `42/${id}/../../../x`, "42/../x", "a\n&#x1b;[2J"]
        .map((key) => entry(key, "1"))
        .join(""),
    ],
    ["a key that is nothing", entry("", "1")],
    ["a size below nothing", entry(`42/${id}/a`, "-1")],
    ["a size that is none", entry(`42/${id}/a`, "many")],
    ["a size beyond all", entry(`42/${id}/a`, "99999999999999999999999")],
    ["a size with a fraction", entry(`42/${id}/a`, "1.5")],
    ["a time that is none", entry(`42/${id}/a`, "1", "yesterday")],
    ["a time to come", entry(`42/${id}/a`, "1", "9999-12-31T00:00:00.000Z")],
    ["the same object twice", entry(`42/${id}/a`, "1").repeat(2)],
    ["no entries at all", "<Contents/>"],
  ])("with %s does not crash a doctor", async (what, entries) => {
    const { sandbox, proxy, takeOver } = await open();
    const before = await everythingBut(sandbox);
    takeOver("ListObjectsV2", (to) => to.writeHead(200).end(listing(entries)));
    for (const argv of [["doctor"], ["doctor", "--repair"], ["doctor", "--repair", "--yes"]]) {
      await expectBearable(sandbox, argv, { what });
    }
    const removed = proxy.log.filter(({ operation }) => operation === "DeleteObject");
    expect(removed.filter(({ path }) => !path.includes(`/42/${id}/a`) && !path.includes("/probe"))).toEqual([]);
    expect(await everythingBut(sandbox)).toEqual(before);
  });

  test.each([
    ["of objects", "ListObjectsV2", listing(entry("x", "1"), "<NextContinuationToken>t</NextContinuationToken>")],
    [
      "of unfinished uploads",
      "ListMultipartUploads",
      "<R><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker></R>",
    ],
    ["of records", "Query", '{"Items": [], "LastEvaluatedKey": {"pk": {"S": "doc#0"}, "sk": {"S": "0"}}}'],
    ["of places", "Scan", '{"Items": [], "LastEvaluatedKey": {"pk": {"S": "path#0"}, "sk": {"S": "head"}}}'],
  ])("%s that is always the same page comes to an end", async (_what, operation, body) => {
    const { sandbox, proxy, takeOver } = await open();
    takeOver(operation, (to) => to.writeHead(200).end(body));
    await expectBearable(sandbox, ["doctor"]);
    expect(proxy.log.filter((request) => request.operation === operation).length).toBeLessThan(100);
  });

  test.each([["7"], ['"x"'], ["[]"], ["{}"], ['{"pk": 1}'], ["null"], ["true"]])(
    "of records whose next page is %s does not crash",
    async (key) => {
      const { sandbox, takeOver } = await open();
      takeOver("Query", (to) => to.writeHead(200).end(`{"Items": [], "LastEvaluatedKey": ${key}}`));
      await expectBearable(sandbox, ["list"], { key });
    },
  );
});

describe("an upload", () => {
  const large = ["upload", "large.bin", "--part-size", "5MiB"];
  const begun = (id: string) =>
    `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`;

  test.each<[string, string, string, readonly string[], Record<string, string>?]>([
    ["begins without an id", "CreateMultipartUpload", begun(""), large],
    ["begins with an id that leads out", "CreateMultipartUpload", begun("../../x?a=b&amp;partNumber=9"), large],
    ["has parts without a name", "UploadPart", "", large],
    ["has parts with another's name", "UploadPart", "", large, { etag: '"../x\u0080"' }],
    [
      "ends with an error in a good answer",
      "CompleteMultipartUpload",
      "<Error><Code>InternalError</Code></Error>",
      large,
    ],
    [
      "ends with a checksum of something else",
      "CompleteMultipartUpload",
      "<R><ChecksumCRC32>AAAAAA==</ChecksumCRC32></R>",
      large,
    ],
    [
      "ends with a checksum that is none",
      "CompleteMultipartUpload",
      "<R><ChecksumCRC32>%%%</ChecksumCRC32></R>",
      large,
    ],
    ["is stored, they say", "PutObject", "", ["upload", "small.txt"]],
    [
      "has another checksum, they say",
      "PutObject",
      "",
      ["upload", "small.txt"],
      { "x-amz-checksum-crc32": "AAAAAA==" },
    ],
    ["is of another size", "HeadObject", "", ["verify", "stored.txt"], { "content-length": "9007199254740993" }],
  ])("that %s becomes no document that cannot be read", async (what, operation, body, argv, headers = {}) => {
    const { sandbox, proxy, takeOver } = await open();
    takeOver(operation, (to) => to.writeHead(200, headers).end(body));
    const outcome = await expectBearable(sandbox, argv, { what });
    expect(outcome.status).toBeGreaterThan(0);
    proxy.clear();
    expect(await runDocproc(sandbox, ["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
  });

  test.each(["x; curl example.com | sh", "", "../../x"])("has no version that is named %j", async (id) => {
    const { proxy, bucket, takeOver } = await open();
    takeOver("GetItem", (to) =>
      to.writeHead(200).end(JSON.stringify({ Item: { entries: { S: id.padEnd(52, "0") }, pages: { N: "0" } } })),
    );
    const settings = { ...awsSettings(proxy.endpoint), table: bucket };
    const metadata = await metadataDrivers.dynamodb.open(settings);
    onTestFinished(() => metadata.close());
    const { signal } = new AbortController();
    const lookUp = metadata.lookUp({ path: "a.txt", given: {} }, "0".repeat(64), signal);
    await expect(lookUp).rejects.toMatchObject({ code: "INTEGRITY" });
  });

  test.each([
    ["null", [null]],
    ["a number", [1, 2]],
    ["text in place of a list", "None, ConditionalCheckFailed"],
    ["codes of another type", [{ Code: 5 }, { Code: {} }]],
    ["an item of another type", [{ Code: "None" }, { Code: "ConditionalCheckFailed", Item: "x" }]],
    ["an item that leads out", [{ Code: "None" }, { Code: "ConditionalCheckFailed", Item: { id: { S: "../../x" } } }]],
    ["none", undefined],
  ])("whose commit is refused with reasons that are %s is no document", async (what, CancellationReasons) => {
    const { sandbox, proxy, takeOver } = await open();
    const body = JSON.stringify({ __type: "x#TransactionCanceledException", CancellationReasons, Message: "no" });
    takeOver("TransactWriteItems", (to) => to.writeHead(400).end(body));
    const outcome = await expectBearable(sandbox, ["upload", "small.txt"], { what });
    expect(outcome.status).toBeGreaterThan(0);
    proxy.clear();
    expect((await runDocproc(sandbox, ["list", "-q"])).stdout.trim().split("\n")).toHaveLength(1);
  });
});

test.each<[string, string]>([
  ["nested deeper than could be written back", `{"Statement":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
  ["a list that is nested as deep", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
  ["no JSON", "<Policy/>"],
  ["null", "null"],
  ["text", '"policy"'],
])("a bucket policy that is %s is not changed, and not an INTERNAL error", async (_what, policy) => {
  const { sandbox, bucket, proxy, takeOver } = await open();
  const tls = await startTlsProxy(proxy.endpoint);
  onTestFinished(() => tls.close());
  const authority = join(sandbox.root, "ca.pem");
  await writeFile(authority, certificate);
  takeOver("GetBucketPolicy", (to) => to.writeHead(200).end(policy));
  const argv = ["init", "--bucket", bucket, "--endpoint-url", tls.endpoint, "--json"];
  const outcome = await docproc(sandbox, argv, { env: { NODE_EXTRA_CA_CERTS: authority } });
  expect(outcome).toMatchObject({ status: 8, stderr: expect.stringContaining('"code":"UNAVAILABLE"') });
  expect(proxy.log.filter(({ operation }) => operation === "PutBucketPolicy")).toEqual([]);
});
