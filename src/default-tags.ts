/** Tags that a configuration gives to every upload: what is `${…}` in them is a variable of the environment. */
import { documentTags, type TextMap } from "./document.ts";
import { DocprocError } from "./errors.ts";
import { secretVariables } from "./secrets.ts";

/** `$$`, `${NAME}` or `${NAME:-what else}`. */
const reference = /\$\$|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g;

/**
 * The tags that were given on the command line, and those for which no other value was given.
 * @throws USAGE when they are no tags, see {@link documentTags}
 * @throws INVALID_CONFIG for a variable that is a secret, or that is unset or empty and has nothing to stand in for it
 */
export function defaultTags(tags: TextMap, given: TextMap, env: Readonly<Record<string, string | undefined>>): TextMap {
  const all: Record<string, string> = Object.assign(Object.create(null), given);
  for (const [key, value] of Object.entries(tags)) {
    if (Object.hasOwn(given, key)) continue;
    all[key] = value.replace(reference, (whole, name?: string, instead?: string) => {
      if (name === undefined) return "$";
      if ((secretVariables as readonly string[]).includes(name)) throw unusable(key, whole, "is a secret");
      const found = env[name] || instead;
      if (found === undefined) throw unusable(key, whole, "is not set");
      return found;
    });
  }
  return documentTags(Object.entries(all).map(([key, value]) => `${key}=${value}`));
}

function unusable(key: string, variable: string, why: string): DocprocError {
  return new DocprocError("INVALID_CONFIG", `The tag ${JSON.stringify(key)} is to be ${variable}, which ${why}.`, {
    hint: `Give --tag ${key}=VALUE, or write \${NAME:-VALUE} into the configuration.`,
  });
}
