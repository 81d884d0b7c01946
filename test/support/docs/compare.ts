/** Compares what a page shows with what was printed, apart from what differs from run to run. */

/**
 * What no two runs print alike. Both sides are rewritten by these rules before they are compared, so a page shows
 * values as a reader would see them, not placeholders. Sizes, digests, names, counts and statuses have to be right.
 */
const varying: readonly (readonly [what: RegExp, name: string])[] = [
  [/\b[0-9a-f]{2}\/(?=[0-9a-f]{8}-[0-9a-f]{4}-7)/g, "<shard>/"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b/g, "<id>"],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "<time>"],
  [/\b\d{8}T\d{6}Z\b/g, "<time>"],
  [/\b20\d\d-\d\d-\d\d\b/g, "<date>"],
  [/\bjust now\b|\b\d+ (second|minute|hour)s? ago\b/g, "<age>"],
  // Of time that passed: "in 118ms.", "1 s apart".
  [/\bin \d+(\.\d+)? ?(ms|s|m)\b/g, "in <duration>"],
  [/\b\d+ s apart\b/g, "<duration> apart"],
  [/("?durationMs"?: ?)\d+/g, "$1<duration>"],
  [/\b\d+(\.\d+)? [kMG]?B\/s/g, "<speed>"],
  [/\bhttps?:\/\/(localhost|127\.0\.0\.1):\d+/g, "<endpoint>"],
  [/(X-Amz-(Signature|Credential|Date)=)[^&\s"]+/g, "$1<signed>"],
  [/("requestId": ?)"[^"]+"/g, '$1"<request>"'],
  [/\b(process|pid) \d+\b/gi, "$1 <pid>"],
  // Columns of a table are as wide as what is in them.
  [/(?<=\S) {2,}(?=\S)/g, "  "],
  [/ +$/g, ""],
];

/** The line of a page that stands for any number of lines, none included. */
const elision = "…";

export function normalise(line: string): string {
  return varying.reduce((text, [what, name]) => text.replace(what, name), line);
}

const idPattern = /\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b/g;
/** What a command may name instead of a whole id: its beginning, at least to the first hyphen. */
const idOrBeginning = /\b[0-9a-f]{8}(-[0-9a-f]{1,4}){0,3}(-[0-9a-f]{1,12})?\b/g;

/** Which id of a run stands for which id of the page: the same id on the page is the same document. */
export class Ids {
  readonly #real = new Map<string, string>();
  readonly #shown = new Map<string, string>();

  /** @returns false where one of the two stands for another one already */
  bind(shown: string, real: string): boolean {
    if ((this.#real.get(shown) ?? real) !== real || (this.#shown.get(real) ?? shown) !== shown) return false;
    this.#real.set(shown, real);
    this.#shown.set(real, shown);
    return true;
  }

  /** A command of the page with the ids of this run; ids that the page has not shown before stay as they are. */
  inCommand(text: string): string {
    return text.replace(idOrBeginning, (shown) => {
      const [[, real] = [], ...others] = [...this.#real].filter(([id]) => id.startsWith(shown));
      return real === undefined || others.length > 0 ? shown : real.slice(0, shown.length);
    });
  }

  /** Output of this run with the ids of the page, as far as it has shown them. */
  inPage(text: string): string {
    return text.replace(idPattern, (real) => this.#shown.get(real) ?? real);
  }
}

/** @returns true when the page shows what was printed; binds the ids of both */
export function sameOutput(shown: readonly string[], printed: readonly string[], anyOrder: boolean, ids: Ids): boolean {
  const [left, right] = anyOrder ? [inOrder(shown), inOrder(printed)] : [shown, printed];
  const pairs = align(left, right);
  if (pairs === undefined) return false;
  return pairs.every(([one, other]) => {
    const theirs = other.match(idPattern) ?? [];
    return (one.match(idPattern) ?? []).every((id, index) => ids.bind(id, theirs[index] ?? ""));
  });
}

function inOrder(lines: readonly string[]): string[] {
  return lines.toSorted((a, b) => (normalise(a) < normalise(b) ? -1 : 1));
}

/** Lines of the page beside those that were printed; undefined where they differ. */
function align(shown: readonly string[], printed: readonly string[]): [string, string][] | undefined {
  const [first, ...rest] = shown;
  if (first === undefined) return printed.length === 0 ? [] : undefined;
  if (first === elision) {
    for (let skipped = 0; skipped <= printed.length; skipped += 1) {
      const found = align(rest, printed.slice(skipped));
      if (found) return found;
    }
    return undefined;
  }
  const [line, ...others] = printed;
  if (line === undefined || normalise(first) !== normalise(line)) return undefined;
  const found = align(rest, others);
  return found && [[first, line], ...found];
}
