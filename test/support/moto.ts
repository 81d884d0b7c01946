import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { forward, type Listening, listen } from "./forward.ts";
import { findOnPath } from "./on-path.ts";

export interface Moto {
  endpoint: string;
  close(): Promise<void>;
}

const START_MS = 60_000;
const TERMINATE_MS = 5_000;

export function motoOnPath(): boolean {
  return findOnPath("moto_server") !== undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), TERMINATE_MS);
  await exited;
  clearTimeout(timer);
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(`${endpoint}/moto-api/`, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

export async function startMoto(): Promise<Moto> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const child = spawn("moto_server", ["-H", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  let failure: Error | undefined;
  child.on("error", (error) => {
    failure = error;
  });
  const killAtExit = () => {
    child.kill("SIGKILL");
  };
  process.once("exit", killAtExit);
  const close = async () => {
    await end(child);
    process.removeListener("exit", killAtExit);
  };

  const deadline = Date.now() + START_MS;
  while (!(await answers(endpoint))) {
    if (hasEnded(child)) {
      await close();
      throw new Error(`moto_server ended before it answered, with exit code ${child.exitCode}`, { cause: failure });
    }
    if (Date.now() > deadline) {
      await close();
      throw new Error(`moto_server did not answer within ${START_MS / 1000} s`);
    }
    await sleep(100);
  }
  const queue = await oneTransactionAtATime(endpoint);
  return {
    endpoint: queue.endpoint,
    async close() {
      queue.close();
      await close();
    },
  };
}

/**
 * moto undoes a cancelled transaction by putting the whole table back as it was before: with it, what others have done
 * meanwhile. `transact_write_items` in https://github.com/getmoto/moto/blob/master/moto/dynamodb/models/__init__.py
 */
async function oneTransactionAtATime(moto: string): Promise<Listening> {
  let last = Promise.resolve();
  return await listen((incoming, outgoing) => {
    if (incoming.headers["x-amz-target"] === undefined) return void forward(incoming, outgoing, moto);
    last = last.then(() => (outgoing.destroyed ? undefined : forward(incoming, outgoing, moto)));
  });
}
