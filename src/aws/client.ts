/** Configures AWS SDK clients: credentials, retries, deadlines, and the requests they must refuse to send. */
import { finished, PassThrough, type Readable } from "node:stream";
import { StandardRetryStrategy } from "@smithy/core/retry";
import { DocprocError } from "../core/errors.ts";
import { isLoopback } from "../core/loopback.ts";
import { keepSecret } from "../core/secrets.ts";
import type { Settings } from "../core/settings.ts";
import { boundAnswers, expectContent, expectLate, type RequestHandler } from "./answer-deadlines.ts";

/** Milliseconds to a TCP connection; a host that drops packets is noticed after this. */
const connectionTimeout = 5_000;
/**
 * How many times longer than others the answer to a completion may take: S3 sends spaces while it puts parts together.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
 */
const completionTimes = 10;
/** Bytes of an answer that is not an object's content. A page of a listing is a few megabytes. */
const maxReplyBytes = 32 * 1024 * 1024;

/** Options for any client of the SDK. Credentials and everything unset follow the SDK's own chain. */
function clientOptions(settings: Settings) {
  // Half, so that one connection that leads nowhere leaves time for another.
  const stall = settings.timeout / 2;
  const maxAttempts = settings.retries + 1;
  return {
    ...(settings.region === undefined ? {} : { region: settings.region }),
    ...(settings.profile === undefined ? {} : { profile: settings.profile }),
    ...(settings.endpointUrl === undefined ? {} : { endpoint: settings.endpointUrl }),
    // Not requestTimeout: it counts from the first byte sent, and a part may be long on its way.
    requestHandler: { connectionTimeout: Math.min(connectionTimeout, stall), socketTimeout: stall },
    maxAttempts,
    retryStrategy: new BoundedRetries(maxAttempts, settings.timeout),
  };
}

type RetryToken = Awaited<ReturnType<StandardRetryStrategy["acquireInitialRetryToken"]>>;
type RetryErrorInfo = Parameters<StandardRetryStrategy["refreshRetryTokenForRetry"]>[1];

/**
 * The SDK's own retries (exponential backoff with full jitter, slower for throttling), which end when a request has
 * spent the time limit waiting for nothing: a black hole is not tried once more for every attempt that is left.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
 */
class BoundedRetries extends StandardRetryStrategy {
  readonly #timeout: number;
  /** Of each attempt, when it began, and how long those before it had stalled. Milliseconds. */
  readonly #attempts = new WeakMap<RetryToken, { since: number; stalled: number }>();

  constructor(maxAttempts: number, timeout: number) {
    super(maxAttempts);
    this.#timeout = timeout;
  }

  override async acquireInitialRetryToken(scope: string): Promise<RetryToken> {
    const token = await super.acquireInitialRetryToken(scope);
    this.#attempts.set(token, { since: Date.now(), stalled: 0 });
    return token;
  }

  override async refreshRetryTokenForRetry(token: RetryToken, failure: RetryErrorInfo): Promise<RetryToken> {
    const { since, stalled } = this.#attempts.get(token) ?? { since: Date.now(), stalled: 0 };
    const waited = isTimeout(failure.error) ? Math.min(Date.now() - since, this.#timeout / 2) : 0;
    // A little less than the whole: clocks round.
    if (stalled + waited > this.#timeout * 0.9) throw failure.error;
    const next = await super.refreshRetryTokenForRetry(token, failure);
    this.#attempts.set(next, { since: Date.now(), stalled: stalled + waited });
    return next;
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === "TimeoutError";
}

/**
 * Opens a client, with a region in any case: an emulator accepts every one, Amazon needs the right one.
 * @throws INVALID_CONFIG when no region is set anywhere
 */
export async function openClient<C extends AnyClient>(
  settings: Settings,
  make: (options: ReturnType<typeof clientOptions> & { region?: string }) => C,
): Promise<C> {
  const client = await withRegion(settings, make);
  // It copies every request and reply, field by field, for a log that nobody keeps.
  client.middlewareStack.remove("loggerMiddleware");
  boundAnswers(client.config.requestHandler, settings.timeout);
  boundCredentials(client, settings);
  heedSignals(client);
  client.middlewareStack.add(guard(client, settings), { step: "finalizeRequest", priority: "low", name: "docproc" });
  client.middlewareStack.add(limitReplies, { step: "deserialize", priority: "low", name: "docprocReplies" });
  if (settings.connections !== undefined) {
    const limit = await connectionLimit(settings.connections);
    client.middlewareStack.add(limit, { step: "deserialize", priority: "high", name: "docprocConnections" });
  }
  return client;
}

/**
 * Lets so many requests be on their way at a time. Not the agent's `maxSockets`: for the SDK a request that waits for a
 * socket is one whose connection fails to open, and it is given up after {@link connectionTimeout}.
 */
async function connectionLimit(connections: number) {
  const { Semaphore } = await import("async-mutex");
  const free = new Semaphore(connections);
  return (next: Next): Next =>
    async (args) =>
      await free.runExclusive(async () => await next(args));
}

async function withRegion<C extends AnyClient>(
  settings: Settings,
  make: (options: ReturnType<typeof clientOptions> & { region?: string }) => C,
): Promise<C> {
  const client = make(clientOptions(settings));
  try {
    await client.config.region();
    return client;
  } catch (error) {
    client.destroy();
    if (settings.customEndpoint !== undefined) return make({ ...clientOptions(settings), region: "us-east-1" });
    throw new DocprocError("INVALID_CONFIG", "No AWS region is set.", {
      hint: "Add --region, set AWS_REGION, or put a region into the AWS profile.",
      cause: error,
    });
  }
}

/** The part of the SDK's clients that is used here; their own types differ in every command they know. */
interface AnyClient {
  readonly config: { region(): Promise<string>; readonly requestHandler: RequestHandler; credentials: Credentials };
  // biome-ignore lint/suspicious/noExplicitAny: each client's stack is typed by its own commands.
  readonly middlewareStack: { add(middleware: any, options: any): void; remove(name: string): boolean };
  // biome-ignore lint/suspicious/noExplicitAny: and so is this.
  send(command: any, options?: any): Promise<any>;
  destroy(): void;
}
/** Loads credentials; the marks are those that the SDK knows its own loader by. */
interface Credentials {
  (options?: object): Promise<unknown>;
  readonly memoized?: boolean;
  readonly configBound?: boolean;
  readonly attributed?: boolean;
}

/**
 * Where credentials come from another program or over the network, the SDK waits for them without an end, and without
 * an ear for signals.
 */
function boundCredentials({ config }: AnyClient, { timeout, profile }: Settings): void {
  const load = config.credentials;
  const tooLate = () => {
    const whose = profile === undefined ? "" : ` of the profile ${profile}`;
    return new DocprocError("UNAVAILABLE", `What gives out the AWS credentials${whose} does not answer.`, {
      hint: "Check the network, and the AWS profile or the variables that say where credentials come from.",
    });
  };
  const bounded = async (options?: object) =>
    await unless(load(options), (reject) => {
      const timer = setTimeout(() => reject(tooLate()), timeout);
      return () => clearTimeout(timer);
    });
  config.credentials = Object.assign(bounded, { memoized: true, configBound: true, attributed: true });
}

/** Lets a signal end a request at once that is not on its way yet, too. */
function heedSignals(client: AnyClient): void {
  const send = client.send.bind(client);
  client.send = async (command, options) => {
    const signal: AbortSignal | undefined = options?.abortSignal;
    const reply = send(command, options);
    if (signal === undefined) return await reply;
    return await unless(reply, (reject) => {
      const stop = () => reject(new DOMException("The request was aborted.", "AbortError"));
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      return () => signal.removeEventListener("abort", stop);
    });
  };
}

/**
 * Settles as the promise does, unless something happens before.
 * @param watch begins to look for it, and returns what ends that
 */
async function unless<T>(promise: Promise<T>, watch: (reject: (error: Error) => void) => () => void): Promise<T> {
  let forget = () => {};
  const happened = new Promise<never>((_, reject) => {
    forget = watch(reject);
  });
  try {
    return await Promise.race([promise, happened]);
  } finally {
    forget();
  }
}

interface Request {
  readonly method?: string;
  readonly protocol?: string;
  readonly hostname?: string;
}
interface Reply {
  readonly response: { readonly statusCode?: number; readonly headers?: Record<string, string>; body?: unknown };
}
/** Where the SDK keeps whose credentials a request is signed with. */
const smithyContext = "__smithy_context";
interface SigningContext {
  readonly selectedHttpAuthScheme?: {
    readonly identity?: { accessKeyId?: string; secretAccessKey?: string; sessionToken?: string };
  };
}

type Next = (args: { request: Request; input: object }) => Promise<Reply>;

/** Milliseconds that the clock of a client's service was ahead of ours when it last answered. */
const skews = new WeakMap<AnyClient, number>();

/** Undefined until the service has answered once, or when it never says what time it is. */
export function skewOf(client: AnyClient): number | undefined {
  return skews.get(client);
}

/** Looks at every request as it leaves, wherever its address came from, and at the clock in every answer. */
function guard(client: AnyClient, { allowHttp }: Settings) {
  return (next: Next, context: { readonly [smithyContext]?: SigningContext }): Next =>
    async (args) => {
      const { accessKeyId, secretAccessKey, sessionToken } =
        context[smithyContext]?.selectedHttpAuthScheme?.identity ?? {};
      for (const value of [accessKeyId, secretAccessKey, sessionToken]) keepSecret(value);
      const { protocol, hostname = "" } = args.request;
      if (protocol === "http:" && !allowHttp && !isLoopback(hostname)) throw plainHttp(hostname);
      try {
        const reply = await next(args);
        noteClock(client, reply.response);
        return reply;
      } catch (error) {
        noteClock(client, (error as { $response?: Reply["response"] }).$response);
        throw error;
      }
    };
}

function noteClock(client: AnyClient, response: Reply["response"] | undefined): void {
  const time = Date.parse(response?.headers?.["date"] ?? "");
  if (!Number.isNaN(time)) skews.set(client, time - Date.now());
}

function plainHttp(hostname: string): DocprocError {
  return new DocprocError("INVALID_CONFIG", `${hostname} would be sent documents and credentials without TLS.`, {
    hint: "Use an https:// endpoint. In a network that you trust: DOCPROC_ALLOW_HTTP=true.",
  });
}

/**
 * An answer that never ends must not fill the memory. The content of an object is streamed, and is not limited; why
 * there is none is an answer like any other.
 */
const limitReplies =
  (next: Next, context: { readonly commandName?: string }): Next =>
  async (args) => {
    const reply = await next(args);
    // HEAD tells the length of what it does not send.
    if (args.request.method === "HEAD") return reply;
    const { response } = reply;
    if (context.commandName === "GetObjectCommand" && Number(response.statusCode) < 300) {
      expectContent(response.body);
      return reply;
    }
    if (context.commandName === "CompleteMultipartUploadCommand") expectLate(response.body, completionTimes);
    const length = response.headers?.["content-length"];
    if (Number(length ?? 0) > maxReplyBytes) {
      (response.body as Readable).destroy();
      throw tooLong();
    }
    if (length === undefined && response.body) response.body = limited(response.body as Readable);
    return reply;
  };

function limited(body: Readable): Readable {
  let bytes = 0;
  const through = new PassThrough({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(bytes > maxReplyBytes ? tooLong() : null, chunk);
    },
  });
  finished(body, (error) => error && through.destroy(error));
  through.once("close", () => body.destroy());
  return body.pipe(through);
}

function tooLong(): DocprocError {
  return new DocprocError("UNAVAILABLE", "The service answered with more than any answer of AWS can be.", {
    hint: "Check the endpoint.",
  });
}
