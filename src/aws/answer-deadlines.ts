/**
 * Deadlines for whole answers. A socket's time limit restarts with every byte, so a server that sends one now and then
 * would never time out. These limits belong to the request, whatever it travels through: a proxy, TLS, a handshake.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

/** What the SDK's handler of HTTP requests takes and gives, as far as it is looked at here. */
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

/** Bytes handed to a connection at a time: TLS would encrypt a part as a whole, into as much memory again. */
const sliceSize = 256 * 1024;
/** Bytes that have to travel in `timeout` milliseconds, of a request's body and of an object. */
const leastProgress = 64 * 1024;
/** How often the pace of an object is looked at in the time in which it has to make progress. */
const looks = 8;

/** An answer that took too long. By its name the SDK knows that it may be asked for again. */
class SlowAnswer extends Error {
  override readonly name = "TimeoutError";
}

/** By the body of its answer, what watches over a request. */
const watches = new WeakMap<object, Watch>();

/**
 * Makes a handler give up answers that are not complete after a time, and requests whose body makes no progress.
 * @param timeout milliseconds from the end of the request to the end of its answer
 */
export function boundAnswers(handler: RequestHandler, timeout: number): void {
  const handle = handler.handle.bind(handler);
  handler.handle = async (request, options = {}) => {
    const watch = new Watch(timeout, options.abortSignal);
    try {
      const attempt = { ...request, body: watch.slicesOf(request.body) };
      const reply = await handle(attempt, { ...options, abortSignal: watch.signal });
      // HEAD has no body, and one that is not read has no end.
      watch.follow(request.method === "HEAD" ? undefined : reply.response.body);
      return reply;
    } catch (error) {
      watch.end();
      throw watch.failure ?? error;
    }
  };
}

/** Of an object's content no end is expected, only progress. */
export function expectContent(body: unknown): void {
  watchOf(body)?.expectProgress(body as IncomingMessage);
}

/** For an answer that keeps its connection alive with spaces until there is something to say. */
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

  /** Gives the request up after so many times the time limit, unless it is heard of before. */
  expect(times: number): void {
    clearTimeout(this.#timer);
    // An answer may come, and end, before all of the request has left.
    if (!this.#isOver) this.#timer = setTimeout(() => this.#giveUp(), times * this.#timeout).unref();
  }

  /** A large body bit by bit, each of which has to be taken in time. */
  slicesOf(body: unknown): unknown {
    if (!Buffer.isBuffer(body) || body.length <= sliceSize) return body;
    const slices = function* (watch: Watch) {
      for (let at = 0; at < body.length; at += sliceSize) {
        watch.expect(sliceSize / leastProgress);
        yield body.subarray(at, at + sliceSize);
      }
    };
    const stream = Readable.from(slices(this), { objectMode: false, highWaterMark: sliceSize });
    // The last of it has left: from here on it is the answer that is waited for.
    return stream.once("end", () => this.expect(1));
  }

  /** Watches over an answer until it is at its end. */
  follow(body: unknown): void {
    if (!(body instanceof Readable)) {
      this.end();
      return;
    }
    this.#body = body;
    watches.set(body, this);
    body.once("close", () => this.end());
  }

  /** Gives up content that comes in too slowly; how long it takes to be used does not count. */
  expectProgress(body: IncomingMessage): void {
    clearTimeout(this.#timer);
    // Half of the time, as for a connection on which nothing comes at all.
    const window = this.#timeout / 2;
    const { socket } = body;
    let received = socket.bytesRead;
    let hungry = 0;
    this.#timer = setInterval(() => {
      const isFed = body.complete || body.readableLength >= body.readableHighWaterMark;
      hungry = isFed || socket.bytesRead - received >= leastProgress / 2 ? 0 : hungry + 1;
      if (hungry === 0) received = socket.bytesRead;
      if (hungry === looks) this.#giveUp();
    }, window / looks).unref();
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
