/**
 * Redacts keys, tokens and signatures, whatever message of a server or a library holds them. Every DocprocError and
 * everything written to stderr goes through here; documents and records are data and do not.
 */
import { withPublicAddresses } from "./address.ts";

/** Shorter values may be ordinary words. */
const minLength = 16;

const known = new Set<string>();

/** Registers a credential to redact, for the life of the process. */
export function registerSecret(value: string | undefined): void {
  if (value !== undefined && value.length >= minLength) known.add(value);
}

/** Variables with credentials: https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html */
export const secretVariables = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"] as const;

const hidden = "***";

const patterns: readonly (readonly [RegExp, string])[] = [
  // Access key ids: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
  [/\b(AKIA|ASIA)[A-Z0-9]{12,}/g, `$1${hidden}`],
  [/\b(X-Amz-(?:Signature|Credential|Security-Token)\s*[=:]\s*)[^&\s"'<>]+/gi, `$1${hidden}`],
  [/\b(aws_?(?:secret_?access_?key|session_?token)["']?\s*[=:]\s*["']?)[^\s"',}]+/gi, `$1${hidden}`],
  [/\b(AWS4-HMAC-SHA256)\b[^\n"<]*/g, `$1 ${hidden}`],
  // User and password before a host, without a scheme.
  [/(?<![\w/@.-])[\w.+-]{1,100}:[^\s@:/"'<>]{1,200}@(?=[\w.-]+)/g, `${hidden}@`],
];

/** The text with all credentials redacted. */
export function withoutSecrets(text: string): string {
  let clean = text;
  for (const secret of known) clean = clean.replaceAll(secret, hidden);
  for (const [pattern, instead] of patterns) clean = clean.replace(pattern, instead);
  return withPublicAddresses(clean, hidden);
}

/** Whether a text contains a credential of this process, a token, or an address with more than host and path. */
export function containsSecret(text: string): boolean {
  return withoutSecrets(text) !== text || tokens.test(text);
}

/**
 * Tokens of well-known services: https://docs.github.com/en/authentication, GitLab, npm, Slack, JSON Web Tokens, and
 * headers that carry one.
 */
const tokens =
  /\b(gh[a-z]_|github_pat_|gl[a-z]+-|npm_|xox[a-z]-)\w{10,}|\beyJ[\w-]{8,}\.|\b(authorization\s*:|(basic|bearer)\s+\S{8,})|\w:[^\s@/]+@\w/i;
