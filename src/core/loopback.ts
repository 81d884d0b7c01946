/**
 * Whether a host name or address is this machine. Not `x.localhost`: systems resolve it by a name server, whatever
 * https://www.rfc-editor.org/rfc/rfc6761#section-6.3 says.
 */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(hostname);
}
