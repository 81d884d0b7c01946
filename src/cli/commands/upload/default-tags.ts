/** The configured tags of every upload. In tags from a file, `${…}` is an environment variable. */

import { DocprocError } from "../../../core/errors.ts";
import { containsSecret } from "../../../core/secrets.ts";
import { documentTags, type TextMap } from "../../../document/record.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** `$$`, `${NAME}` or `${NAME:-default}`. */
const reference = /\$\$|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g;

/** Prefixes of CI variables that describe a job: see the lists linked in ci.ts. */
const describesJob = /^(GITHUB|CI|BUILDKITE|BUILD|JENKINS|CIRCLE|GIT)_/;
/** Names that contain one of these words are always refused; the short ones count only as whole parts of a name. */
const namesSecret =
  /TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH|COOKIE|CONFIG|NETRC|(^|_)(PAT|JWT|PWD|PW|CREDS?|CERT|DSN|SSH|SIG)(_|$)/i;

export interface ConfiguredTags {
  readonly tags: TextMap;
  /** True for tags from a file. Tags from the environment are literal: a branch may be called `${NPM_TOKEN}`. */
  readonly expand: boolean;
  /** Variables that may be expanded besides those of CI jobs. */
  readonly variables: readonly string[];
}

/**
 * The given tags, and the configured ones with other keys.
 * @throws USAGE for invalid tags, see {@link documentTags}
 * @throws INVALID_CONFIG for a variable that may not be expanded, or that is unset or empty without a default
 */
export function defaultTags({ tags, expand, variables }: ConfiguredTags, given: TextMap, env: Env): TextMap {
  const all: Record<string, string> = Object.assign(Object.create(null), given);
  for (const [key, value] of Object.entries(tags)) {
    if (!Object.hasOwn(given, key)) all[key] = expand ? expanded(key, value, variables, env) : value;
  }
  return documentTags(Object.entries(all).map(([key, value]) => `${key}=${value}`));
}

/** Expands every reference once: `${…}` within a value stays. */
function expanded(key: string, text: string, variables: readonly string[], env: Env): string {
  return text.replace(reference, (whole, name?: string, instead?: string) => {
    if (name === undefined) return "$";
    const refuse = (why: string, hint: string) =>
      new DocprocError("INVALID_CONFIG", `The tag ${JSON.stringify(key)} uses ${whole}, ${why}.`, { hint });
    if (namesSecret.test(name)) throw refuse("whose name looks like a secret", `Use --tag ${key}=VALUE.`);
    if (!describesJob.test(name) && !variables.includes(name)) {
      const hint = `Add ${name} to tagVariables in your own config file, or set DOCPROC_TAG_VARIABLES=${name}.`;
      throw refuse("which does not describe a CI job", hint);
    }
    const found = env[name] || instead;
    if (found === undefined) {
      throw refuse("which is not set", `Use --tag ${key}=VALUE, or write \${${name}:-VALUE} in the configuration.`);
    }
    if (containsSecret(found)) throw refuse("whose value may contain a secret", `Use --tag ${key}=VALUE.`);
    return found;
  });
}
