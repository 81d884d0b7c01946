/** Runs a command as a whole process and takes its time, its processor time and the most memory it ever had. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** All of its environment. */
  readonly env: Readonly<Record<string, string>>;
  /** A file on its standard input. */
  readonly stdin?: string;
}

export interface Figures {
  /** Seconds. */
  readonly wall: number;
  /** Seconds of both kinds, of the process and those that it waited for; null where /proc does not tell. */
  readonly cpu: number | null;
  /** Bytes; null where /proc does not tell. */
  readonly peak: number | null;
}

/** Milliseconds between two looks at the memory. The kernel keeps the maximum, so only growth in the last one is missed. */
const interval = 5;
/** Of the figures in /proc: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, 100 a second on every Linux. */
const ticksPerSecond = 100;

/** One at a time: processor time is that of all children that have ended. Rejects when the command fails. */
export async function measure({ file, args, env, stdin }: Command): Promise<Figures> {
  const input = stdin === undefined ? undefined : openSync(stdin, "r");
  const cpuBefore = cpuOfChildren();
  const begun = process.hrtime.bigint();
  const child = spawn(file, args, { env, stdio: [input ?? "ignore", "pipe", "pipe"] });
  const printed: Buffer[] = [];
  child.stdout?.resume();
  child.stderr?.on("data", (chunk: Buffer) => printed.push(chunk));
  let peak: number | null = null;
  const timer = setInterval(() => {
    peak = peakOf(child.pid) ?? peak;
  }, interval);
  try {
    const [status, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (...how) => resolve(how));
    });
    const wall = Number(process.hrtime.bigint() - begun) / 1e9;
    if (status !== 0) {
      const said = Buffer.concat(printed).toString().slice(-2000);
      throw new Error(`${file} ${args.join(" ")} ended with ${status ?? signal}:\n${said}`);
    }
    const cpuAfter = cpuOfChildren();
    return { wall, cpu: cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore, peak };
  } finally {
    clearInterval(timer);
    if (input !== undefined) closeSync(input);
  }
}

function cpuOfChildren(): number | null {
  const stat = readProc("/proc/self/stat");
  if (stat === undefined) return null;
  // The name, which may hold anything, is in parentheses; cutime and cstime are the 16th and 17th field.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
}

function peakOf(pid: number | undefined): number | null {
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`) ?? "")?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
