/** Configures AWS SDK clients: credentials, retries, deadlines, and the requests they must refuse to send. */
import { finished, PassThrough, type Readable } from "node:stream";
import { StandardRetryStrategy } from "@smithy/core/retry";
import { DocprocError } from "../core/errors.ts";
import { isLoopback } from "../core/loopback.ts";
import { registerSecret } from "../core/secrets.ts";
import { expectContent, expectLate, limitResponseTime, type RequestHandler } from "./answer-deadlines.ts";
import type { AwsSettings } from "./settings.ts";

/** Milliseconds to open a TCP connection, so that a host that drops packets is noticed. */
const connectionTimeout = 5_000;
/**
 * The response to a completion may take this many times longer: S3 sends spaces while it assembles the parts.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
 */
const completionTimes = 10;
/** Bytes of a response, object content aside. A page of a listing is a few megabytes. */
const maxReplyBytes = 32 * 1024 * 1024;

/** Options for any SDK client. Credentials and everything unset follow the SDK's own chain. */
function clientOptions(settings: AwsSettings) {
  // Half, so that one dead connection leaves time for another.
  const stall = settings.timeout / 2;
  const maxAttempts = settings.retries + 1;
  return {
    ...(settings.region === undefined ? {} : { region: settings.region }),
    ...(settings.profile === undefined ? {} : { profile: settings.profile }),
    ...(settings.endpointUrl === undefined ? {} : { endpoint: settings.endpointUrl }),
    // Not requestTimeout: it counts from the first byte sent, and a part may take long to send.
    requestHandler: { connectionTimeout: Math.min(connectionTimeout, stall), socketTimeout: stall },
    maxAttempts,
    retryStrategy: new BoundedRetries(maxAttempts, settings.timeout),
  };
}

type RetryToken = Awaited<ReturnType<StandardRetryStrategy["acquireInitialRetryToken"]>>;
type RetryErrorInfo = Parameters<StandardRetryStrategy["refreshRetryTokenForRetry"]>[1];

/**
 * The SDK's retries (exponential backoff with full jitter, slower for throttling), which stop once a request has
 * stalled for the time limit in total: a black hole does not use up every attempt.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
 */
class BoundedRetries extends StandardRetryStrategy {
  readonly #timeout: number;
  /** For each attempt: when it began, and how long earlier ones stalled. Milliseconds. */
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
    // Slightly less: clocks round.
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
 * Opens a client that always has a region: an emulator accepts any, Amazon needs the right one.
 * @throws INVALID_CONFIG when no region is set anywhere
 */
export async function openClient<C extends AnyClient>(
  settings: AwsSettings,
  make: (options: ReturnType<typeof clientOptions> & { region?: string }) => C,
): Promise<C> {
  const client = await withRegion(settings, make);
  // It copies every request and response for a log that docproc does not keep.
  client.middlewareStack.remove("loggerMiddleware");
  limitResponseTime(client.config.requestHandler, settings.timeout);
  limitCredentialTime(client, settings);
  rejectOnAbort(client);
  client.middlewareStack.add(guard(client, settings), { step: "finalizeRequest", priority: "low", name: "docproc" });
  client.middlewareStack.add(limitReplies, { step: "deserialize", priority: "low", name: "docprocReplies" });
  if (settings.connections !== undefined) {
    const limit = await connectionLimit(settings.connections);
    client.middlewareStack.add(limit, { step: "deserialize", priority: "high", name: "docprocConnections" });
  }
  return client;
}

/**
 * Limits concurrent requests. Not the agent's `maxSockets`: the SDK would count waiting for a socket as connecting, and
 * abort after {@link connectionTimeout}.
 */
async function connectionLimit(connections: number) {
  const { Semaphore } = await import("async-mutex");
  const free = new Semaphore(connections);
  return (next: Next): Next =>
    async (args) =>
      await free.runExclusive(async () => await next(args));
}

async function withRegion<C extends AnyClient>(
  settings: AwsSettings,
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
      hint: "Add --region, set AWS_REGION, or set a region in the AWS profile.",
      cause: error,
    });
  }
}

/** The subset of SDK clients in use; their full types differ with every command. */
interface AnyClient {
  readonly config: { region(): Promise<string>; readonly requestHandler: RequestHandler; credentials: Credentials };
  // biome-ignore lint/suspicious/noExplicitAny: each client's stack is typed by its own commands.
  readonly middlewareStack: { add(middleware: any, options: any): void; remove(name: string): boolean };
  // biome-ignore lint/suspicious/noExplicitAny: and so is this.
  send(command: any, options?: any): Promise<any>;
  destroy(): void;
}
/** Loads credentials; the flags tell the SDK that it is its own loader. */
interface Credentials {
  (options?: object): Promise<unknown>;
  readonly memoized?: boolean;
  readonly configBound?: boolean;
  readonly attributed?: boolean;
}

/**
 * Limits the time to load credentials: from another program or the network the SDK waits forever and ignores signals.
 */
function limitCredentialTime({ config }: AnyClient, { timeout, profile }: AwsSettings): void {
  const load = config.credentials;
  const tooLate = () => {
    const whose = profile === undefined ? "" : ` of the profile ${profile}`;
    return new DocprocError("UNAVAILABLE", `The source of the AWS credentials${whose} does not respond.`, {
      hint: "Check the network, and the AWS profile or the variables that configure the credentials.",
    });
  };
  const bounded = async (options?: object) =>
    await unless(load(options), (reject) => {
      const timer = setTimeout(() => reject(tooLate()), timeout);
      return () => clearTimeout(timer);
    });
  config.credentials = Object.assign(bounded, { memoized: true, configBound: true, attributed: true });
}

/** Makes a signal also end requests that are not sent yet. */
function rejectOnAbort(client: AnyClient): void {
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
 * Settles like the promise, unless `watch` rejects first.
 * @param watch starts watching, and returns the function that stops it
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

interface OutgoingRequest {
  readonly method?: string;
  readonly protocol?: string;
  readonly hostname?: string;
}
interface Reply {
  readonly response: { readonly statusCode?: number; readonly headers?: Record<string, string>; body?: unknown };
}
/** Where the SDK keeps the credentials that sign a request. */
const smithyContext = "__smithy_context";
interface SigningContext {
  readonly selectedHttpAuthScheme?: {
    readonly identity?: { accessKeyId?: string; secretAccessKey?: string; sessionToken?: string };
  };
}

type Next = (args: { request: OutgoingRequest; input: object }) => Promise<Reply>;

/** Milliseconds that a service's clock was ahead of ours at its last response. */
const skews = new WeakMap<AnyClient, number>();

/** Undefined before the first response, and for a service that sends no date. */
export function skewOf(client: AnyClient): number | undefined {
  return skews.get(client);
}

/** Checks every request right before it is sent, and reads the clock in every response. */
function guard(client: AnyClient, { allowHttp }: AwsSettings) {
  return (next: Next, context: { readonly [smithyContext]?: SigningContext }): Next =>
    async (args) => {
      const { accessKeyId, secretAccessKey, sessionToken } =
        context[smithyContext]?.selectedHttpAuthScheme?.identity ?? {};
      for (const value of [accessKeyId, secretAccessKey, sessionToken]) registerSecret(value);
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
  return new DocprocError("INVALID_CONFIG", `Refusing to send documents and credentials to ${hostname} without TLS.`, {
    hint: "Use an https:// endpoint, or set DOCPROC_ALLOW_HTTP=true on a network that you trust.",
  });
}

/**
 * Limits responses, so that an endless one cannot fill the memory. Object content is streamed and unlimited; errors in
 * its place are limited.
 */
const limitReplies =
  (next: Next, context: { readonly commandName?: string }): Next =>
  async (args) => {
    const reply = await next(args);
    // HEAD states a length and sends nothing.
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
  return new DocprocError("UNAVAILABLE", "The response of the service is larger than any response of AWS.", {
    hint: "Check the endpoint.",
  });
}
