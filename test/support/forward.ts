/** Servers that stand in front of others. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Listening {
  readonly endpoint: string;
  close(): void;
}

/** Listens on a free port of this machine. */
export async function listen(handle: RequestListener): Promise<Listening> {
  const server = createServer(handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Passes a request on, and its answer back. Resolves when the target is done with it, or nobody waits any more. */
export function forward(incoming: IncomingMessage, outgoing: ServerResponse, target: string): Promise<void> {
  const { method, headers, url = "/" } = incoming;
  return new Promise((resolve) => {
    // Without reuse, no request can meet a connection that the target is just closing.
    const forwarded = request(new URL(url, target), { method, headers, agent: false }, (reply) => {
      outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(outgoing);
    });
    forwarded.on("error", () => outgoing.destroy());
    forwarded.on("close", resolve);
    outgoing.on("close", () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
}
