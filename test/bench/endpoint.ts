/** The null endpoint as a process beside the one that measures. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { EndpointCounts, EndpointMessage, EndpointReady } from "./null-endpoint.ts";

export class Endpoint {
  readonly http: string;
  readonly https: string;
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess, { http, https }: EndpointReady) {
    this.#process = child;
    this.http = http;
    this.https = https;
  }

  static async start(): Promise<Endpoint> {
    const child = fork(join(import.meta.dirname, "null-endpoint.js"));
    const [ready] = (await once(child, "message")) as [EndpointReady];
    return new Endpoint(child, ready);
  }

  /** @param latency milliseconds before each reply */
  async reset(latency: number): Promise<void> {
    await this.#ask({ reset: { latency } });
  }

  /** Requests since the last reset, of all kinds. */
  async requests(): Promise<number> {
    return Object.values(await this.#ask({ counts: true })).reduce((sum, count) => sum + count, 0);
  }

  stop(): void {
    this.#process.disconnect();
  }

  async #ask(message: EndpointMessage): Promise<EndpointCounts> {
    const answer = once(this.#process, "message");
    this.#process.send(message);
    return ((await answer) as [EndpointCounts])[0];
  }
}
