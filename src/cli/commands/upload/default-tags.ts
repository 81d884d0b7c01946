/** The configured tags of every upload. In tags from a file, `${…}` is an environment variable. */

import { DocprocError } from "../../../core/errors.ts";
import { containsSecret } from "../../../core/secrets.ts";
import { documentTags, type TextMap } from "../../../document/record.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** `$$`, `${NAME}` or `${NAME:-what else}`. */
const reference = /\$\$|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g;

/** What CI systems say of a job begins with one of these: see the lists that ci.ts links. */
const describesJob = /^(GITHUB|CI|BUILDKITE|BUILD|JENKINS|CIRCLE|GIT)_/;
/** Names that hold one of these words are refused, whatever else allows them; the short ones as whole parts of a name. */
const namesSecret =
  /TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH|COOKIE|CONFIG|NETRC|(^|_)(PAT|JWT|PWD|PW|CREDS?|CERT|DSN|SSH|SIG)(_|$)/i;

export interface ConfiguredTags {
  readonly tags: TextMap;
  /** True for tags of a file. What came from the environment is text: a branch may be called `${NPM_TOKEN}`. */
  readonly expand: boolean;
  /** Variables that may be expanded beside those that describe a CI job. */
  readonly variables: readonly string[];
}

/**
 * The tags that were given on the command line, and the configured ones whose keys were not given.
 * @throws USAGE when they are no tags, see {@link documentTags}
 * @throws INVALID_CONFIG for a variable that may not be expanded, or that is unset or empty and has no default
 */
export function defaultTags({ tags, expand, variables }: ConfiguredTags, given: TextMap, env: Env): TextMap {
  const all: Record<string, string> = Object.assign(Object.create(null), given);
  for (const [key, value] of Object.entries(tags)) {
    if (!Object.hasOwn(given, key)) all[key] = expand ? expanded(key, value, variables, env) : value;
  }
  return documentTags(Object.entries(all).map(([key, value]) => `${key}=${value}`));
}

/** Replaces every reference once: a value that holds `${…}` itself stays as it is. */
function expanded(key: string, text: string, variables: readonly string[], env: Env): string {
  return text.replace(reference, (whole, name?: string, instead?: string) => {
    if (name === undefined) return "$";
    const refuse = (why: string, hint: string) =>
      new DocprocError("INVALID_CONFIG", `The tag ${JSON.stringify(key)} holds ${whole}, ${why}.`, { hint });
    if (namesSecret.test(name)) throw refuse("whose name is that of a secret", `Give --tag ${key}=VALUE.`);
    if (!describesJob.test(name) && !variables.includes(name)) {
      const hint = `Add ${name} to tagVariables in your own config file, or set DOCPROC_TAG_VARIABLES=${name}.`;
      throw refuse("which does not describe a CI job", hint);
    }
    const found = env[name] || instead;
    if (found === undefined) {
      throw refuse("which is not set", `Give --tag ${key}=VALUE, or write \${${name}:-VALUE} into the configuration.`);
    }
    if (containsSecret(found)) throw refuse("whose value holds what may be a secret", `Give --tag ${key}=VALUE.`);
    return found;
  });
}
