/** A line that is slow and never stops: what is sent through it arrives at so many bytes a second. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface SlowProxy {
  readonly endpoint: string;
  close(): void;
}

/** @param rate bytes a second of each connection, in each direction; without a number, as fast as it goes */
export async function startSlowProxy(
  target: string,
  rate: { readonly toServer?: number; readonly toClient?: number },
): Promise<SlowProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      // One end that is gone takes the other with it.
      socket
        .on("error", () => {})
        .on("close", () => {
          client.destroy();
          upstream.destroy();
        });
    }
    void pace(client, upstream, rate.toServer);
    void pace(upstream, client, rate.toClient);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function pace(from: Socket, to: Socket, bytesPerSecond = Number.POSITIVE_INFINITY): Promise<void> {
  try {
    for await (const chunk of from) {
      if (!to.write(chunk)) await once(to, "drain");
      // What is not read yet waits in the sender, who thinks that it goes slowly.
      const pause = (chunk.length / bytesPerSecond) * 1000;
      if (pause > 0) await sleep(pause);
    }
    to.end();
  } catch {
    // The connection broke, which the other end hears of by itself.
  }
}
