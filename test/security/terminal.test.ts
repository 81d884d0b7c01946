/**
 * Text of somebody else on a terminal. Whatever a document, a file, a catalog or a server is called or says, what is
 * printed for people moves no cursor, hides nothing, turns no text around and makes no line of its own.
 */
import { chmod, mkdir, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { newDocumentId } from "../../src/document/record.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { randomNumbers } from "../support/random.ts";
import { makeSandbox, type Outcome, type RunOptions, runDocproc, type Sandbox } from "../support/run.ts";
import { keyboard } from "../support/streams.ts";

const runs = process.env["DOCPROC_SOAK"] === "1" ? 60 : 4;
const columns = 100;

/** Begins every line that only hostile text could have made. */
const forged = "uploaded  0000";
const pieces = [
  ...[
    "\u001b[2J",
    "\u001b]0;title\u0007",
    "\u001b[6n",
    "\u001bP1$r\u001b\\",
    "\u001b(0",
    "\u001b",
    "\u009b5A",
    "\u0090",
  ],
  ...["\u202e", "\u202d", "\u2066", "\u2069", "\u200f", "\u061c", "\u2028", "\u2029", "\u0085", "\ufeff", "\u200b"],
  ...["\r", "\t", "\b\b\b", "\u0007", "\u007f", `\n${forged}`, `\r\n${forged}`, "\u000b", "\u000c"],
  ...["a", "report", " ", "é", "日本", "📦", "'", '"', "%s", "\\n", "$(x)", "..", "-", "--", "{", "*"],
];

/** Texts of several pieces, for names of files: no slash, and short enough. */
function hostileTexts(seed: number): () => string {
  const next = randomNumbers(seed);
  const pick = () => pieces[Math.floor(next() * pieces.length)] ?? "";
  return () => `x${Array.from({ length: 2 + Math.floor(next() * 8) }, pick).join("")}`;
}

/** As {@link hostileTexts}, for names of documents, which have no control characters. */
function hostileNames(hostile: () => string): () => string {
  return () => hostile().replaceAll(/\p{Cc}/gu, "?");
}

/** What a spinner and a question are made of. */
const ownSequences = new RegExp(`${"\u001b"}\\[(\\?(25|2026)[hl]|\\d*[mGJKA])`, "g");
/** What was typed, and the line end that a terminal makes of Enter. */
const echo = /(?<=\[y\/N\] \w?)\r(?=\n)/g;

/** What is wrong with what was printed. A tab is between the cells of a table in a pipe. */
function complaintsAbout({ stdout, stderr }: Pick<Outcome, "stdout" | "stderr">, terminal: boolean): string[] {
  const text = terminal ? `${stdout}\n${stderr}`.replace(ownSequences, "").replace(echo, "") : `${stdout}\n${stderr}`;
  const bad = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
  const lines = text.split("\n");
  return lines.filter((line) => bad.test(line.replaceAll("\t", "")) || line.startsWith(forged));
}

/** Runs in a pipe and on a terminal, and looks at what is printed. */
async function look(sandbox: Sandbox, argv: readonly string[], options: RunOptions = {}): Promise<number[]> {
  const statuses: number[] = [];
  for (const terminal of [undefined, columns]) {
    const outcome = await runDocproc(sandbox, argv, { ...(terminal && { terminal }), ...options });
    expect({ argv, wrong: complaintsAbout(outcome, terminal !== undefined) }).toEqual({ argv, wrong: [] });
    statuses.push(outcome.status);
  }
  return statuses;
}

const seeds = Array.from({ length: runs }, (_, n) => 5_000 + n);

test.each(seeds)(
  "nothing hostile gets through any command (seed %i)",
  async (seed) => {
    const hostile = hostileTexts(seed);
    const sandbox = await makeSandbox();
    const named = hostileNames(hostile);
    const [name = "", folder = "", other = ""] = [named(), named(), named()];
    await mkdir(join(sandbox.cwd, folder));
    // The last one is no name of a document.
    for (const file of [name, join(folder, other), join(folder, `${hostile()}\u001b[2J`)])
      await writeFile(join(sandbox.cwd, file), file);
    const described = ["--tag", `${hostile()}=${hostile()}`, "--meta", `${hostile()}=${hostile()}`];
    await look(sandbox, [
      "upload",
      `--content-type=text/plain; x=${encodeURI(name)}`,
      ...described,
      "--",
      name,
      hostile(),
    ]);
    await look(sandbox, ["upload", "-r", ...described, "--", folder, name]);
    await look(sandbox, ["upload", "-r", "-v", `--exclude=${hostile().slice(0, 9)}`, "--", folder, hostile()]);
    expect((await runDocproc(sandbox, ["list", "--json"])).json().count).toBeGreaterThan(1);
    await look(sandbox, ["list"]);
    await look(sandbox, ["list", "--tag", `${hostile()}=x`, `--name=${hostile()}`]);
    await look(sandbox, ["show", "--", name]);
    for (const command of ["show", "cat", "download", "verify", "delete", hostile()]) {
      await look(sandbox, [command, "-v", "--", hostile()]);
    }
    for (const flag of ["--cursor", "--limit", "--since", "--until", "--type", "--sample", hostile()]) {
      await look(sandbox, ["list", `${flag}=${hostile()}`]);
    }
    for (const flag of ["--tag", "--content-type", "--part-size", "--files-from", "--on-duplicate", "--name"]) {
      await look(sandbox, ["upload", `${flag}=${hostile()}`, "--", name]);
    }
    for (const flag of ["--storage", "--bucket", "--prefix", "--region", "--endpoint-url", "--config", "--timeout"]) {
      await look(sandbox, ["list", `${flag}=${hostile()}`]);
    }
    await look(sandbox, ["download", `--output=${hostile()}/`, "--", name, other]);
    await look(sandbox, ["init", "--directory", hostile()]);
    await look(sandbox, ["config", "--profile", hostile()], { env: { DOCPROC_TABLE: hostile() } });
    await writeFile(join(sandbox.cwd, "bad.json"), JSON.stringify({ [hostile()]: 1 }));
    await writeFile(join(sandbox.cwd, "worse.yaml"), `a: ${hostile()}: {${hostile()}\n`);
    await writeFile(join(sandbox.cwd, "worst.json"), `{"a": ${hostile()}`);
    for (const file of ["bad.json", "worse.yaml", "worst.json"]) await look(sandbox, ["list", "-v", "--config", file]);
  },
  60_000,
);

test.each(seeds)("nothing hostile gets through what a damaged library makes them say (seed %i)", async (seed) => {
  const hostile = hostileTexts(seed);
  const sandbox = await makeSandbox();
  const named = hostileNames(hostile);
  const [gone, rotten] = [named(), named()];
  await writeFile(join(sandbox.cwd, "file"), "content");
  for (const name of [gone, rotten]) {
    const uploaded = await runDocproc(sandbox, ["upload", "file", `--name=${name}`, "--json"]);
    const path = fileURLToPath(uploaded.json().documents[0].uri);
    if (name === rotten) await writeFile(path, "rotten.");
    else await rm(path);
  }
  const old = new Date(Date.now() - 3 * 86_400_000);
  const id = newDocumentId();
  const orphan = join(sandbox.data, "objects", id.slice(-2), id, hostile());
  const leftover = join(sandbox.data, "incoming", hostile());
  for (const path of [orphan, leftover]) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "garbage");
    await utimes(path, old, old);
  }
  expect(await look(sandbox, ["verify", "--all", "--deep"])).toEqual([6, 6]);
  expect(await look(sandbox, ["doctor"])).toEqual([6, 6]);
  await look(sandbox, ["download", "-v", "-o", "out/", "--", gone, rotten]);
  // The question is about every name.
  for (const keys of ["n\n", "\u0004"]) {
    const asked = await runDocproc(sandbox, ["delete", "--", gone, rotten], {
      terminal: columns,
      stdin: keyboard(keys),
    });
    expect(asked.stderr).toContain("[y/N]");
    expect(complaintsAbout(asked, true)).toEqual([]);
  }
  await look(sandbox, ["doctor", "--repair", "--yes"]);
  await look(sandbox, ["delete", "--yes", "--", gone, rotten]);
});

describe("what a server says", () => {
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws();
  });
  afterAll(() => aws.close());

  test.each(["S3", "DynamoDB"])(
    "is shown without what it does: %s",
    async (service) => {
      const sandbox = await makeSandbox();
      const flags = ["--endpoint-url", aws.endpoint, "--bucket", awsSettings("").bucket ?? ""];
      expect(await runDocproc(sandbox, ["init", ...flags])).toMatchObject({ status: 0 });
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      const proxy = await startFaultProxy(aws.endpoint);
      onTestFinished(() => proxy.close());
      const hostile = hostileTexts(1);
      const asXml = (text: string) => text.replace(/[^\w ]/gu, (one) => `&#${one.codePointAt(0)};`);
      for (let n = 0; n < 20; n++) {
        const [Code, Message] = [hostile(), pieces.join("x")];
        const body =
          service === "S3"
            ? `<Error><Code>${asXml(Code)}</Code><Message>${asXml(Message)}</Message></Error>`
            : JSON.stringify({ __type: `x#${Code}`, message: Message });
        proxy.inject({
          operation: service === "S3" ? "PutObject" : "TransactWriteItems",
          action: { kind: "answer", reply: (response) => void response.writeHead(418).end(body) },
        });
        for (const verbose of [[], ["-v"]]) {
          const statuses = await look(sandbox, ["upload", "a.txt", "--endpoint-url", proxy.endpoint, ...verbose]);
          expect(statuses).toEqual([1, 1]);
        }
        proxy.clear();
      }
    },
    60_000,
  );
});

test("the name of the directory that docproc runs in is shown without what it does", async () => {
  const sandbox = await makeSandbox();
  const cwd = join(sandbox.cwd, pieces.join("").slice(0, 80));
  await mkdir(cwd);
  await chmod(cwd, 0o700);
  await writeFile(join(cwd, "file"), "content");
  await look(sandbox, ["init", "--directory", "library"], { cwd });
  for (const argv of [["config"], ["upload", "file"], ["doctor"], ["show", "file"], ["download", "file"]]) {
    await look(sandbox, argv, { cwd });
  }
  await writeFile(join(cwd, ".docprocrc.json"), "{");
  await look(sandbox, ["list", "-v"], { cwd });
});
