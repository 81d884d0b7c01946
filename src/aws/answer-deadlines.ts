/**
 * Deadlines for whole answers. A socket's time limit restarts with every byte, so a server that sends one now and then
 * would never time out. These limits belong to the request, whatever it travels through: a proxy, TLS, a handshake.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

/** The subset of the SDK's HTTP handler in use. */
interface HttpRequest {
  readonly method?: string;
  readonly body?: unknown;
}
interface HandlerOptions {
  readonly abortSignal?: AbortSignal;
}
export interface RequestHandler {
  handle(request: HttpRequest, options?: HandlerOptions): Promise<{ readonly response: { readonly body?: unknown } }>;
}

/** Bytes written at a time: TLS would otherwise encrypt a whole part, doubling its memory. */
const sliceSize = 256 * 1024;
/** Bytes of a request body or an object that must move within `timeout`. */
const minProgress = 64 * 1024;
/** Checks of an object's progress within its time limit. */
const progressChecks = 8;

/** A response that took too long. The SDK retries errors of this name. */
class SlowAnswer extends Error {
  override readonly name = "TimeoutError";
}

/** The watch of each request, by its response body. */
const watches = new WeakMap<object, Watch>();

/**
 * Makes a handler abort incomplete responses after a time, and requests whose body makes no progress.
 * @param timeout milliseconds from the end of the request to the end of its response
 */
export function limitResponseTime(handler: RequestHandler, timeout: number): void {
  const handle = handler.handle.bind(handler);
  handler.handle = async (request, options = {}) => {
    const watch = new Watch(timeout, options.abortSignal);
    try {
      const attempt = { ...request, body: watch.slicesOf(request.body) };
      const reply = await handle(attempt, { ...options, abortSignal: watch.signal });
      // HEAD has no body, and an unread body never ends.
      watch.follow(request.method === "HEAD" ? undefined : reply.response.body);
      return reply;
    } catch (error) {
      watch.end();
      throw watch.failure ?? error;
    }
  };
}

/** For an object's content, requires progress instead of an end. */
export function expectContent(body: unknown): void {
  watchOf(body)?.expectProgress(body as IncomingMessage);
}

/** For a response that sends spaces to keep the connection alive until it is ready. */
export function expectLate(body: unknown, times: number): void {
  watchOf(body)?.expect(times);
}

function watchOf(body: unknown): Watch | undefined {
  return typeof body === "object" && body !== null ? watches.get(body) : undefined;
}

class Watch {
  failure: Error | undefined;
  readonly #timeout: number;
  readonly #stop = new AbortController();
  readonly #caller: AbortSignal | undefined;
  #body: Readable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(timeout: number, caller: AbortSignal | undefined) {
    this.#timeout = timeout;
    this.#caller = caller;
    caller?.addEventListener("abort", this.#abort);
    if (caller?.aborted) this.#abort();
    this.expect(1);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  readonly #abort = () => this.#stop.abort(this.#caller?.reason);

  /** Aborts the request after so many time limits, unless it ends or this is called again. */
  expect(times: number): void {
    clearTimeout(this.#timer);
    // A response may arrive and end before the whole request has left.
    if (!this.#isOver) this.#timer = setTimeout(() => this.#giveUp(), times * this.#timeout).unref();
  }

  /** Sends a large body in slices, each of which must be accepted in time. */
  slicesOf(body: unknown): unknown {
    if (!Buffer.isBuffer(body) || body.length <= sliceSize) return body;
    const slices = function* (watch: Watch) {
      for (let at = 0; at < body.length; at += sliceSize) {
        watch.expect(sliceSize / minProgress);
        yield body.subarray(at, at + sliceSize);
      }
    };
    const stream = Readable.from(slices(this), { objectMode: false, highWaterMark: sliceSize });
    // The body has left: now the limit applies to the response.
    return stream.once("end", () => this.expect(1));
  }

  /** Watches a response until it ends. */
  follow(body: unknown): void {
    if (!(body instanceof Readable)) {
      this.end();
      return;
    }
    this.#body = body;
    watches.set(body, this);
    body.once("close", () => this.end());
  }

  /** Aborts content that arrives too slowly; the time its consumer takes does not count. */
  expectProgress(body: IncomingMessage): void {
    clearTimeout(this.#timer);
    // Half of the limit, as for an idle connection.
    const window = this.#timeout / 2;
    const { socket } = body;
    let received = socket.bytesRead;
    let starvedChecks = 0;
    this.#timer = setInterval(() => {
      const isBuffered = body.complete || body.readableLength >= body.readableHighWaterMark;
      starvedChecks = isBuffered || socket.bytesRead - received >= minProgress / 2 ? 0 : starvedChecks + 1;
      if (starvedChecks === 0) received = socket.bytesRead;
      if (starvedChecks === progressChecks) this.#giveUp();
    }, window / progressChecks).unref();
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#abort);
  }

  #giveUp(): void {
    this.end();
    this.failure = new SlowAnswer(`The answer took longer than ${this.#timeout} ms.`);
    if (this.#body) this.#body.destroy(this.failure);
    else this.#stop.abort(this.failure);
  }
}
