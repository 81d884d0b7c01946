import { once } from "node:events";
import { request } from "node:http";
import { pipeline, Readable } from "node:stream";
import { expect, test } from "vitest";
import { startFaultProxy } from "./fault-proxy.ts";
import { listen } from "./forward.ts";

const MiB = 1024 * 1024;

test("300 MiB pass in both directions, no faster than they are taken", async () => {
  const chunk = Buffer.alloc(MiB, 1);
  /** Counts what it has given away: the memory in use would also count garbage. */
  function createSource() {
    const source = { given: 0, stream: Readable.from(generate(), { objectMode: false }) };
    function* generate() {
      for (; source.given < 300; source.given += 1) yield chunk;
    }
    return source;
  }
  const pause = () => new Promise((resolve) => setTimeout(resolve, 300));
  const count = async (stream: Readable) => {
    let total = 0;
    for await (const part of stream) total += part.length;
    return total;
  };
  const upload = createSource();
  const download = createSource();
  let givenBeforeReading = 0;
  let uploaded = 0;
  const upstream = await listen(async (incoming, response) => {
    await pause();
    givenBeforeReading = upload.given;
    uploaded = await count(incoming);
    pipeline(download.stream, response, () => undefined);
  });
  const proxy = await startFaultProxy(upstream.endpoint);
  try {
    const headers = { "content-length": 300 * MiB };
    const outgoing = request(`${proxy.endpoint}/bucket/key`, { method: "PUT", headers });
    pipeline(upload.stream, outgoing, () => undefined);
    const [reply] = (await once(outgoing, "response")) as [Readable];
    expect(uploaded).toBe(300 * MiB);
    // What is under way fills the buffers of the sockets, a few MiB each.
    expect(givenBeforeReading).toBeLessThan(64);
    await pause();
    expect(download.given).toBeLessThan(64);
    expect(await count(reply)).toBe(300 * MiB);
  } finally {
    await proxy.close();
    upstream.close();
  }
});
