/**
 * Whether a host is this machine itself, by its name or address. Not `x.localhost`: systems ask a name server for it,
 * whatever https://www.rfc-editor.org/rfc/rfc6761#section-6.3 says.
 */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(hostname);
}
