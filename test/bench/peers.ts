/** The programs that people would use instead, as far as they are here, and how each of them is told the same. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { findOnPath } from "../support/on-path.ts";
import type { Command } from "./measure.ts";

export const peerNames = ["aws", "rclone", "s5cmd", "s3cmd", "curl", "cp"] as const;
export type PeerName = (typeof peerNames)[number];

/** Where each peer is; undefined for one that is not installed. */
export function findPeers(): Record<PeerName, string | undefined> {
  const found = peerNames.map((name) => [name, behindShim(name, findOnPath(name))]);
  return Object.fromEntries(found) as ReturnType<typeof findPeers>;
}

/** A version manager's shell script in front of a program would be counted as the program's own time. */
function behindShim(name: string, path: string | undefined): string | undefined {
  if (path === undefined || !path.includes("/.pyenv/shims/")) return path;
  return execFileSync("pyenv", ["which", name], { encoding: "utf8" }).trim();
}

/** Where a client sends to, and what else all of them need to know. */
export interface Target {
  /** http://127.0.0.1:port or https://... */
  readonly endpoint: string;
  /** A PEM file with the authority that signed the endpoint's certificate. */
  readonly authority: string;
  /** An empty directory. */
  readonly home: string;
}

export const bucket = "bench";

/** The environment of what needs no service. */
export function plain(): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "" };
}

/** The whole environment of docproc and of every peer. */
export function environment({ endpoint, authority, home }: Target): Record<string, string> {
  return {
    ...plain(),
    HOME: home,
    DOCPROC_BUCKET: bucket,
    AWS_ACCESS_KEY_ID: "bench",
    AWS_SECRET_ACCESS_KEY: "bench",
    AWS_REGION: "us-east-1",
    AWS_DEFAULT_REGION: "us-east-1",
    AWS_ENDPOINT_URL: endpoint,
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CA_BUNDLE: authority,
    // Node parses its own 150 authorities with it as it starts, whether or not anybody asks for one.
    ...(endpoint.startsWith("https:") ? { NODE_EXTRA_CA_CERTS: authority } : {}),
    SSL_CERT_FILE: authority,
    RCLONE_CONFIG: join(home, "rclone.conf"),
    RCLONE_CA_CERT: authority,
    RCLONE_CONFIG_NULL_TYPE: "s3",
    RCLONE_CONFIG_NULL_PROVIDER: "AWS",
    RCLONE_CONFIG_NULL_ENV_AUTH: "true",
    RCLONE_CONFIG_NULL_REGION: "us-east-1",
    RCLONE_CONFIG_NULL_ENDPOINT: endpoint,
    RCLONE_CONFIG_NULL_FORCE_PATH_STYLE: "true",
  };
}

/** One large file to the bucket. */
export function copyFile(peer: PeerName, program: string, file: string, target: Target): Command | undefined {
  const env = environment(target);
  switch (peer) {
    case "aws":
      return { file: program, args: ["s3", "cp", "--no-progress", file, `s3://${bucket}/large`], env };
    case "rclone":
      return { file: program, args: ["copyto", file, `null:${bucket}/large`], env };
    case "s5cmd":
      return { file: program, args: ["cp", file, `s3://${bucket}/large`], env };
    case "s3cmd":
      return { file: program, args: ["put", ...s3cmdOptions(target), file, `s3://${bucket}/large`], env };
    case "curl": {
      const url = `${target.endpoint}/${bucket}/large`;
      return { file: program, args: ["-sSf", "--cacert", target.authority, "-T", file, url], env };
    }
    case "cp":
      return undefined;
  }
}

/** Every file below a directory to the bucket. `connections` is given only where the tool is not to use its own default. */
export function copyDirectory(
  peer: PeerName,
  program: string,
  directory: string,
  target: Target,
  connections?: number,
): Command | undefined {
  const env = environment(target);
  const to = `s3://${bucket}/many/`;
  switch (peer) {
    case "aws":
      return {
        file: program,
        args: ["s3", "cp", "--recursive", "--no-progress", "--only-show-errors", directory, to],
        env,
      };
    case "rclone": {
      const transfers = connections === undefined ? [] : ["--transfers", String(connections)];
      return { file: program, args: ["copy", ...transfers, directory, `null:${bucket}/many`], env };
    }
    case "s5cmd":
      return { file: program, args: ["cp", `${directory}/`, to], env };
    case "s3cmd":
      return { file: program, args: ["put", "--recursive", ...s3cmdOptions(target), `${directory}/`, to], env };
    default:
      return undefined;
  }
}

function s3cmdOptions({ endpoint, authority }: Target): string[] {
  const { host, protocol } = new URL(endpoint);
  return [
    "--quiet",
    "--no-progress",
    "--access_key=bench",
    "--secret_key=bench",
    `--host=${host}`,
    `--host-bucket=${host}`,
    ...(protocol === "https:" ? ["--ssl", `--ca-certs=${authority}`] : ["--no-ssl"]),
  ];
}

/** docproc itself, as it is installed: the built program, with this Node. */
export function docproc(args: readonly string[], env: Record<string, string>, stdin?: string): Command {
  const program = resolve("dist/docproc.js");
  if (!existsSync(program)) throw new Error(`${program} is not there: npm run build`);
  return { file: process.execPath, args: [program, ...args], env, ...(stdin === undefined ? {} : { stdin }) };
}
