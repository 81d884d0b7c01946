/**
 * Redacts keys, tokens and signatures, whatever message of a server or a library holds them. Every DocprocError and
 * everything written to stderr goes through here; documents and records are data and do not.
 */
import { withPublicAddresses } from "./address.ts";

/** Shorter values are words that occur for other reasons. */
const leastLength = 16;

const known = new Set<string>();

/** Remembers the value of a credential, for as long as the process lives. */
export function keepSecret(value: string | undefined): void {
  if (value !== undefined && value.length >= leastLength) known.add(value);
}

/** The variables that hold credentials: https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html */
export const secretVariables = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"] as const;

const hidden = "***";

const patterns: readonly (readonly [RegExp, string])[] = [
  // Ids of access keys: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
  [/\b(AKIA|ASIA)[A-Z0-9]{12,}/g, `$1${hidden}`],
  [/\b(X-Amz-(?:Signature|Credential|Security-Token)\s*[=:]\s*)[^&\s"'<>]+/gi, `$1${hidden}`],
  [/\b(aws_?(?:secret_?access_?key|session_?token)["']?\s*[=:]\s*["']?)[^\s"',}]+/gi, `$1${hidden}`],
  [/\b(AWS4-HMAC-SHA256)\b[^\n"<]*/g, `$1 ${hidden}`],
  // A user and a password before a host, without a scheme.
  [/(?<![\w/@.-])[\w.+-]{1,100}:[^\s@:/"'<>]{1,200}@(?=[\w.-]+)/g, `${hidden}@`],
];

/** The text without anything that would let its reader in. */
export function withoutSecrets(text: string): string {
  let clean = text;
  for (const secret of known) clean = clean.replaceAll(secret, hidden);
  for (const [pattern, instead] of patterns) clean = clean.replace(pattern, instead);
  return withPublicAddresses(clean, hidden);
}

/** Whether a text holds a credential of this process, or an address with more than a host and a path. */
export function holdsSecret(text: string): boolean {
  return withoutSecrets(text) !== text || tokens.test(text);
}

/**
 * What tokens of well-known services look like: https://docs.github.com/en/authentication, GitLab, npm, Slack, JSON Web
 * Tokens, and headers that carry one.
 */
const tokens =
  /\b(gh[a-z]_|github_pat_|gl[a-z]+-|npm_|xox[a-z]-)\w{10,}|\beyJ[\w-]{8,}\.|\b(authorization\s*:|(basic|bearer)\s+\S{8,})|\w:[^\s@/]+@\w/i;
