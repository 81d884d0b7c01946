/** The machine that a page's reader sits at: an empty home, a directory with some documents, and one shell. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startInRepoAws } from "../aws.ts";
import { type FaultRule, type ProxiedRequest, startFaultProxy } from "../fault-proxy.ts";
import { cli } from "../process.ts";
import { randomNumbers } from "../random.ts";
import { certificate, startTlsProxy } from "../tls-proxy.ts";

/** Where the reader's home is on every page. */
const home = "/home/ada";
const columns = 110;
const commandMs = 60_000;

/** What lies in the directory that a page begins in: name, first bytes, size in bytes. The rest of each is noise. */
const documents: readonly (readonly [name: string, beginning: string | Buffer, size: number])[] = [
  ["invoice.pdf", "%PDF-1.7\n", 48_213],
  ["report.pdf", "%PDF-1.7\n", 263_104],
  ["notes.txt", "Minutes of the meeting in May.\n", 31],
  ["dist/app-1.4.2.tgz", Buffer.from([0x1f, 0x8b, 8]), 355_221],
  ["dist/app-1.4.2-docs.tgz", Buffer.from([0x1f, 0x8b, 8]), 91_340],
  ["dist/app.js.map", '{"version":3,"sources":[],"mappings":""}\n', 41],
  ["scans/contract.pdf", "%PDF-1.7\n", 180_022],
  ["scans/letter.pdf", "%PDF-1.7\n", 75_118],
];

export interface Ran {
  /** 128 and more for a command that a signal ended; undefined for a shell that ended with it. */
  readonly status: number | undefined;
  /** stdout and stderr, as they came, with the paths of the page. */
  readonly lines: readonly string[];
}

export interface Machine {
  /** @param interrupt sends SIGINT once a fault leaves a request unanswered, and ends that fault */
  run(command: string, options?: { interrupt?: boolean }): Promise<Ran>;
  write(name: string, text: string): Promise<void>;
  /** Makes S3 or DynamoDB fail from now on; undefined makes them work again. */
  fault(rule: FaultRule | undefined): void;
  close(): Promise<void>;
}

/** Starts a shell with docproc on its PATH, and an S3 and DynamoDB that are the only AWS it can reach. */
export async function startMachine(): Promise<Machine> {
  const root = await realpath(await mkdtemp(join(tmpdir(), "docproc-docs-")));
  const [cwd, bin, control] = [join(root, home, "project"), join(root, "bin"), join(root, "control")];
  await Promise.all([cwd, bin, control, join(root, "node_modules")].map((path) => mkdir(path, { recursive: true })));
  await Promise.all([writeDocuments(cwd), writeProgram(bin, control), writeFile(join(control, "ca.pem"), certificate)]);
  // What a page's own programs may import; the SDK is for damage that docproc itself would never do.
  const repository = fileURLToPath(new URL("../../..", import.meta.url));
  await symlink(repository, join(root, "node_modules/docproc-cli"));
  await symlink(join(repository, "node_modules/@aws-sdk"), join(root, "node_modules/@aws-sdk"));
  const aws = await startInRepoAws();
  const faults = await startFaultProxy(aws.endpoint);
  const tls = await startTlsProxy(faults.endpoint);
  const bash = spawn("bash", ["--noprofile", "--norc"], {
    cwd,
    env: environment(root, tls.endpoint),
    stdio: ["pipe", "ignore", "ignore", "pipe"],
    detached: true,
  });
  const statuses = statusesOf(bash);
  let fault: FaultRule | undefined;
  const setFault = (rule: FaultRule | undefined) => {
    fault = rule;
    faults.clear();
    faults.log.length = 0;
    if (rule) faults.inject(rule);
  };

  return {
    async run(command, options = {}) {
      await writeFile(join(control, "command"), `${command}\n`);
      await writeFile(join(control, "pid"), "");
      bash.stdin?.write(
        '(exit $_status); . "$_control/command" >"$_control/output" 2>&1 </dev/null; _status=$?; echo $_status >&3\n',
      );
      if (options.interrupt) {
        const rule = fault;
        if (!rule) throw new Error("Only a command that a fault leaves waiting can be interrupted: see `fault`.");
        void interrupt(join(control, "pid"), () => isHanging(faults.log, rule));
      }
      const status = await statuses(commandMs);
      if (options.interrupt) setFault(undefined);
      const output = await readFile(join(control, "output"), "utf8");
      const lines = output.replaceAll(root, "").replace(/\n$/, "").split("\n");
      return { status, lines: output === "" ? [] : lines };
    },
    async write(name, text) {
      await mkdir(dirname(join(cwd, name)), { recursive: true });
      await writeFile(join(cwd, name), text);
    },
    fault: setFault,
    async close() {
      // Whatever a page has left running is in the shell's group.
      if (bash.pid !== undefined && bash.exitCode === null) process.kill(-bash.pid, "SIGKILL");
      tls.close();
      await faults.close();
      await aws.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function writeDocuments(cwd: string): Promise<void> {
  for (const [name, beginning, size] of documents) {
    const noise = randomNumbers(size);
    const rest = Buffer.from(Array.from({ length: size - beginning.length }, () => noise() * 256));
    await mkdir(dirname(join(cwd, name)), { recursive: true });
    await writeFile(join(cwd, name), Buffer.concat([Buffer.from(beginning), rest]));
  }
}

/**
 * docproc, which takes what the page shows for a terminal: not a pipe, nor a file that the command writes to. Only
 * stdout; on stderr progress would be drawn, which no page can show.
 */
async function writeProgram(bin: string, control: string): Promise<void> {
  const installed = process.env["DOCPROC_TEST_CLI"];
  const program = installed ? `"${installed}"` : `"${process.execPath}" "${cli}"`;
  await writeFile(
    join(bin, "docproc"),
    `#!/usr/bin/env bash
echo $$ >"${control}/pid"
if [ /dev/stdout -ef "${control}/output" ]; then export NODE_OPTIONS="$NODE_OPTIONS --require ${control}/terminal.cjs"; fi
exec ${program} "$@"
`,
  );
  await chmod(join(bin, "docproc"), 0o755);
  await writeFile(
    join(control, "terminal.cjs"),
    `Object.defineProperties(process.stdout, { isTTY: { value: true }, columns: { value: ${columns} } });\n`,
  );
}

/** Nothing of this machine but its programs. Commits that a page makes are the same in every run. */
function environment(root: string, endpoint: string): NodeJS.ProcessEnv {
  const author = { NAME: "Ada", EMAIL: "ada@example.com", DATE: "2026-01-02T03:04:05Z" };
  const git = Object.entries(author).flatMap(([name, value]) => [
    [`GIT_AUTHOR_${name}`, value],
    [`GIT_COMMITTER_${name}`, value],
  ]);
  return {
    _control: join(root, "control"),
    _status: "0",
    PATH: `${join(root, "bin")}:${dirname(process.execPath)}:${process.env["PATH"]}`,
    HOME: join(root, home),
    LANG: "C.UTF-8",
    TZ: "UTC",
    NO_COLOR: "1",
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    AWS_REGION: "us-east-1",
    AWS_ENDPOINT_URL: endpoint,
    AWS_EC2_METADATA_DISABLED: "true",
    NODE_EXTRA_CA_CERTS: join(root, "control/ca.pem"),
    GIT_CONFIG_NOSYSTEM: "1",
    ...Object.fromEntries(git),
  };
}

/** Each line of descriptor 3 is the status of a command. */
function statusesOf(bash: ChildProcess): (ms: number) => Promise<number | undefined> {
  let text = "";
  let closed = false;
  let wake = () => {};
  bash.stdio[3]?.on("data", (chunk: Buffer) => {
    text += chunk;
    wake();
  });
  bash.on("close", () => {
    closed = true;
    wake();
  });
  return async (ms) => {
    const late = AbortSignal.timeout(ms);
    while (!text.includes("\n")) {
      if (closed) return undefined;
      if (late.aborted) throw new Error(`The command did not end within ${ms / 1000} s.`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        late.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    const [line = "", ...rest] = text.split("\n");
    text = rest.join("\n");
    return Number(line);
  };
}

/** True once requests are left unanswered as the rule says, and those before them were answered. */
function isHanging(log: readonly ProxiedRequest[], { operation, nth = 1 }: FaultRule): boolean {
  const those = log.filter((request) => operation === undefined || request.operation === operation);
  return those.length >= nth && those.slice(0, nth - 1).every(({ status }) => status !== 0);
}

async function interrupt(pidFile: string, isTime: () => boolean): Promise<void> {
  const deadline = Date.now() + commandMs;
  while (!isTime() && Date.now() < deadline) await sleep(20);
  // What was answered last is being written down.
  await sleep(500);
  const pid = Number(await readFile(pidFile, "utf8"));
  if (pid > 0) process.kill(pid, "SIGINT");
}
