/** Stands in front of a server and speaks TLS, with a certificate that no authority signed. */
import { once } from "node:events";
import { request } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";

/** For 127.0.0.1 and localhost, until 2126; `openssl req -x509 -newkey ec -nodes` made it. The key guards nothing. */
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBrzCCAVWgAwIBAgIUP8jgsoXrEQKD/HE2sfNbylF/nnswCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTZG9jcHJvYyB0ZXN0IHNlcnZlcjAgFw0yNjExMjQyMzUyMDBa
GA8yMTI2MTAzMTIzNTIwMFowHjEcMBoGA1UEAwwTZG9jcHJvYyB0ZXN0IHNlcnZl
cjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABC/+TDMONc140SxXz/EpKKG5RaJZ
bD04M3FpuZyn4lUsx1lPHsNT9SlAHAf9uPro07UMgR7lYDuyt8dnuTYdXWijbzBt
MB0GA1UdDgQWBBTCDBDQG1FAanLAQq1JwTXJswEQaDAfBgNVHSMEGDAWgBTCDBDQ
G1FAanLAQq1JwTXJswEQaDAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGCCWxv
Y2FsaG9zdIcEfwAAATAKBggqhkjOPQQDAgNIADBFAiASiy3dscJLe2zxs6ZfmN/c
fUGIBSQvPEIaUK6qcKFn5QIhAM4dE3+vyHm024aAuN9YdgJ3fZLj1JsBnMsTvA1V
nFhW
-----END CERTIFICATE-----
`;
/** Of {@link certificate}. */
export const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPdn2Oyh6UniBO+w3
TIVk2q0XFTdNQ7s2kcFcSWjDAP2hRANCAAQv/kwzDjXNeNEsV8/xKSihuUWiWWw9
ODNxabmcp+JVLMdZTx7DU/UpQBwH/bj66NO1DIEe5WA7srfHZ7k2HV1o
-----END PRIVATE KEY-----
`;

export interface TlsProxy {
  readonly endpoint: string;
  /** Requests that got through. */
  readonly count: () => number;
  close(): void;
}

export async function startTlsProxy(target: string): Promise<TlsProxy> {
  let count = 0;
  const server = createServer({ key, cert: certificate }, (incoming, outgoing) => {
    count += 1;
    const to = new URL(incoming.url ?? "/", target);
    const forwarded = request(to, { method: incoming.method, headers: incoming.headers }, (reply) => {
      outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(outgoing);
    });
    forwarded.on("error", () => outgoing.destroy());
    outgoing.on("close", () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    count: () => count,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
