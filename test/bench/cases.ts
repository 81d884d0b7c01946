/** What is measured, against what, and what has to come out. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { catalogCases } from "./catalog.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Files, makeFile, makeFiles } from "./files.ts";
import { type Command, measure } from "./measure.ts";
import {
  bucket,
  copyDirectory,
  copyFile,
  docproc,
  environment,
  type PeerName,
  peerNames,
  plain,
  type Target,
} from "./peers.ts";

export interface Contender {
  readonly name: string;
  /** Documents that it stores; not given where requests are of no interest. */
  readonly documents?: number;
  /** Called before each run, which is not counted in it. */
  readonly command: () => Promise<Command>;
}

/** What has to hold between the first contender and another one, or of the first alone. */
export interface Goal {
  readonly figure: "wall" | "cpu" | "peak" | "requests";
  /** A ratio to this contender; an absolute figure without it. */
  readonly to?: string;
  readonly atMost: number;
}

export interface Case {
  readonly name: string;
  readonly about: string;
  /** Milliseconds that the endpoint waits before each reply. */
  readonly latency?: number;
  /** Most rounds that are worth their time; fewer can be asked for. */
  readonly rounds?: number;
  readonly contenders: readonly Contender[];
  readonly goals: readonly Goal[];
}

export interface Bench {
  /** An empty directory for everything. */
  readonly scratch: string;
  readonly endpoint: Endpoint;
  readonly authority: string;
  readonly peers: Readonly<Record<PeerName, string | undefined>>;
  /** 1 for the sizes of the goals; less for a quick look. */
  readonly scale: number;
}

type MakeCase = (bench: Bench) => Promise<Case>;

const mebibyte = 1024 * 1024;
const megabyte = 1_000_000;

/** Each is made just before it is run. The files that several of them need are made once. */
export const cases: Readonly<Record<string, MakeCase>> = {
  version: async () => ({
    name: "docproc --version",
    about: "start-up",
    contenders: [
      { name: "docproc", command: async () => docproc(["--version"], plain()) },
      { name: "node -e 0", command: async () => node() },
    ],
    goals: [{ figure: "wall", to: "node -e 0", atMost: 1.4 }],
  }),

  "list-embedded": async (bench) => {
    const env = { ...plain(), HOME: await emptyHome(bench), DOCPROC_DIRECTORY: join(bench.scratch, "small-library") };
    const { path } = await makeFiles(bench, 20, 100);
    await measure(docproc(["upload", "-r", path], env));
    return {
      name: "docproc list --json",
      about: "start-up, embedded library of 20 documents",
      contenders: [
        { name: "docproc", command: async () => docproc(["list", "--json"], env) },
        { name: "node -e 0", command: async () => node() },
      ],
      goals: [{ figure: "wall", to: "node -e 0", atMost: 1.8 }],
    };
  },

  "list-dynamodb": async (bench) => {
    const env = environment(await newTarget(bench, "http"));
    const { path } = await makeFiles(bench, 20, 100);
    // The endpoint forgets everything between two runs.
    const afterUpload = (command: Command) => async () => {
      await measure(docproc(["upload", "-r", path], env));
      return command;
    };
    return {
      name: "docproc list --json, DynamoDB",
      about: "start-up, table of 20 documents",
      contenders: [
        { name: "docproc", command: afterUpload(docproc(["list", "--json"], env)) },
        ...ifThere(bench, "aws", (program) => ({
          name: "aws dynamodb scan",
          command: afterUpload({ file: program, args: ["dynamodb", "scan", "--table-name", bucket], env }),
        })),
      ],
      goals: [{ figure: "wall", to: "aws dynamodb scan", atMost: 0.3 }],
    };
  },

  large: async (bench) => {
    const file = await makeFile(bench, 1024 * mebibyte);
    return {
      name: "one file of 1 GiB over TLS",
      about: "docproc: with SHA-256, CRC-32 of each part and of the whole, and the record",
      contenders: [await uploadLarge(bench, "docproc", file), ...(await peersWith(bench, copyFile, file))],
      goals: [
        { figure: "wall", to: "aws", atMost: 0.8 },
        { figure: "wall", to: "rclone", atMost: 0.5 },
        { figure: "cpu", to: "aws", atMost: 1 },
        { figure: "peak", atMost: 200 * megabyte },
      ],
    };
  },

  "large-memory": async (bench) => ({
    name: "one file of 4 GiB over TLS",
    about: "memory, against 1 GiB",
    rounds: 3,
    contenders: [
      await uploadLarge(bench, "4 GiB", await makeFile(bench, 4096 * mebibyte)),
      await uploadLarge(bench, "1 GiB", await makeFile(bench, 1024 * mebibyte)),
    ],
    goals: [
      { figure: "peak", to: "1 GiB", atMost: 1.1 },
      { figure: "peak", atMost: 200 * megabyte },
    ],
  }),

  stdin: async (bench) => {
    const file = await makeFile(bench, 1024 * mebibyte);
    const env = environment(await newTarget(bench, "https"));
    return {
      name: "standard input of 1 GiB over TLS",
      about: "of a size that nobody knows before its end",
      rounds: 3,
      contenders: [
        { name: "docproc", documents: 1, command: async () => docproc(["upload", "-", "--name", "x"], env, file) },
        ...ifThere(bench, "aws", (program) => ({
          name: "aws",
          documents: 1,
          command: async () => ({ file: program, args: ["s3", "cp", "-", `s3://${bucket}/x`], env, stdin: file }),
        })),
      ],
      goals: [{ figure: "peak", atMost: 200 * megabyte }],
    };
  },

  "large-local": async (bench) => {
    const file = await makeFile(bench, 1024 * mebibyte);
    const copy = join(bench.scratch, "copy");
    const library = join(bench.scratch, "library");
    return {
      name: "one file of 1 GiB to the local library",
      about: "docproc: hashed, flushed, recorded",
      contenders: [
        {
          name: "docproc",
          command: async () => {
            await rm(library, { recursive: true, force: true });
            return docproc(["upload", file], { ...plain(), HOME: await emptyHome(bench), DOCPROC_DIRECTORY: library });
          },
        },
        ...ifThere(bench, "cp", () => ({
          name: "cp && sha256sum",
          command: async () => {
            await rm(copy, { force: true });
            return { file: "/bin/sh", args: ["-c", `cp '${file}' '${copy}' && sha256sum '${copy}'`], env: plain() };
          },
        })),
      ],
      goals: [
        { figure: "wall", to: "cp && sha256sum", atMost: 1.2 },
        { figure: "peak", atMost: 120 * megabyte },
      ],
    };
  },

  many: async (bench) => {
    const files = await makeFiles(bench, 2000, 4096);
    return {
      name: "2,000 files of 4 KiB over TLS",
      about: "docproc: each with its record; every tool with its own defaults",
      contenders: [
        await uploadMany(bench, "docproc", files),
        ...(await peersWith(bench, copyDirectory, files.path, files.count)),
      ],
      goals: [
        { figure: "wall", to: "aws", atMost: 0.25 },
        { figure: "wall", to: "rclone", atMost: 1 },
        { figure: "requests", atMost: 3 },
      ],
    };
  },

  "many-memory": async (bench) => ({
    name: "20,000 files of 4 KiB over TLS",
    about: "memory, against 2,000",
    rounds: 3,
    contenders: [
      await uploadMany(bench, "20,000 files", await makeFiles(bench, 20_000, 4096)),
      await uploadMany(bench, "2,000 files", await makeFiles(bench, 2000, 4096)),
    ],
    goals: [{ figure: "peak", to: "2,000 files", atMost: 1.3 }],
  }),

  "many-distant": async (bench) => {
    const files = await makeFiles(bench, 2000, 4096);
    const connections = 8;
    const alike = (...[peer, program, directory, target]: Parameters<typeof copyDirectory>) =>
      peer === "rclone" ? copyDirectory(peer, program, directory, target, connections) : undefined;
    return {
      name: "2,000 files of 4 KiB, each reply 20 ms late",
      about: `${connections} connections each`,
      latency: 20,
      rounds: 3,
      contenders: [
        // Two of them are to the catalog: one that looks names up, one that commits.
        await uploadMany(bench, "docproc", files, ["--connections", String(connections - 2)]),
        ...(await peersWith(bench, alike, files.path, files.count)),
      ],
      goals: [{ figure: "wall", to: "rclone", atMost: 1.3 }],
    };
  },

  ...catalogCases,
};

function node(): Command {
  return { file: process.execPath, args: ["-e", "0"], env: plain() };
}

async function emptyHome({ scratch }: Bench): Promise<string> {
  return await mkdtemp(join(scratch, "home-"));
}

async function newTarget(bench: Bench, protocol: "http" | "https"): Promise<Target> {
  return { endpoint: bench.endpoint[protocol], authority: bench.authority, home: await emptyHome(bench) };
}

function ifThere(bench: Bench, peer: PeerName, make: (program: string) => Contender): Contender[] {
  const program = bench.peers[peer];
  return program === undefined ? [] : [make(program)];
}

async function peersWith(
  bench: Bench,
  commandOf: (peer: PeerName, program: string, path: string, target: Target) => Command | undefined,
  path: string,
  documents = 1,
): Promise<Contender[]> {
  const target = await newTarget(bench, "https");
  return peerNames.flatMap((peer) => {
    const program = bench.peers[peer];
    const command = program === undefined ? undefined : commandOf(peer, program, path, target);
    return command === undefined ? [] : [{ name: peer, documents, command: async () => command }];
  });
}

async function uploadLarge(bench: Bench, name: string, file: string): Promise<Contender> {
  const env = environment(await newTarget(bench, "https"));
  return { name, documents: 1, command: async () => docproc(["upload", file], env) };
}

async function uploadMany(bench: Bench, name: string, { path, count }: Files, flags: string[] = []) {
  const env = environment(await newTarget(bench, "https"));
  const command = async () => docproc(["upload", "-r", path, "--ndjson", ...flags], env);
  return { name, documents: count, command };
}
