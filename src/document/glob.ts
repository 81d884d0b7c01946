/**
 * Globs for names, paths and content types: `*`, `?`, `[…]`, `{a,b}`, `**`, and `\` to escape a character.
 * docs/finding.md says what each of them matches.
 *
 * Own code because it is safety-critical: names come from every uploader, and a glob perhaps from a script. Matchers
 * that compile a glob to a regular expression backtrack: with picomatch, thirty times `{a,a}` took 58 s for one name,
 * and four stars 27 s for a name of 500 letters. Here a glob becomes a nondeterministic automaton that reads a name
 * once, with the set of reachable states: at most states times characters steps. State sets are cached, so that in a
 * long listing a character takes one step.
 * https://swtch.com/~rsc/regexp/regexp1.html
 */
import { DocprocError } from "../core/errors.ts";

/** A compiled glob. */
export interface Glob {
  matches(text: string): boolean;
  /** Of all matching so far, each some nanoseconds. At most eight times the glob's length for a character of a text. */
  readonly steps: number;
}

const maxGlobLength = 1024;

/** @throws USAGE as {@link compileGlob} */
export function globMatcher(glob: string): (text: string) => boolean {
  const compiled = compileGlob(glob);
  return (text) => compiled.matches(text);
}

/** @throws USAGE for a glob that is empty or too long, and for what other programs know and this one does not */
export function compileGlob(glob: string): Glob {
  return new Automaton(tokensOf(glob), glob.includes("\\") ? undefined : spelled(glob));
}

/** What SQLite's GLOB gives a meaning to: https://www.sqlite.org/lang_expr.html#glob */
const special = new Set([..."*?["].map(codeOf));

/**
 * How every text that matches a glob begins and ends, in characters that SQLite's GLOB takes as they are; the two are not
 * the same characters, and often one is empty.
 */
export function globEnds(glob: string): readonly [prefix: string, suffix: string] {
  const tokens = tokensOf(glob);
  const isPlain = (token: Token | undefined) => token?.kind === "character" && !special.has(token.code);
  let from = 0;
  while (isPlain(tokens[from])) from += 1;
  let to = tokens.length;
  while (to > from && isPlain(tokens[to - 1])) to -= 1;
  return [textOf(tokens.slice(0, from)), textOf(tokens.slice(to))];
}

/** Pairs of code points: from each first to each second. */
type Ranges = readonly number[];

/** What stands in a glob; `at` and `bounds` are indexes in the list of all of them. */
type Token =
  | { readonly kind: "character"; readonly code: number }
  | { readonly kind: "class"; readonly ranges: Ranges; readonly negated: boolean }
  /** `*`: any characters but slashes. */
  | { readonly kind: "star" }
  /** `**`, which is a star until it is known where it stands. */
  | { readonly kind: "stars" }
  /** `**` in place of whole parts of a path: any characters. */
  | { readonly kind: "parts" }
  /** The same with a slash behind it: any characters up to a slash, or nothing. */
  | { readonly kind: "folders" | "slash of folders" }
  /** Of braces: where they open, where their commas are, and where they close. */
  | { readonly kind: "open" | "comma" | "close"; readonly bounds: readonly number[] };

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function characterOf(code: number): Token {
  return { kind: "character", code };
}

function textOf(tokens: readonly Token[]): string {
  return tokens.map((token) => (token.kind === "character" ? String.fromCodePoint(token.code) : "")).join("");
}

const slash = codeOf("/");

/** Names are kept in NFC, whatever was typed. `./` says where a path begins, and no path that is matched has it. */
function spelled(glob: string): string {
  return glob.normalize("NFC").replace(/^(\.\/)+(?=.)/s, "");
}

function tokensOf(glob: string): Token[] {
  if (glob === "" || glob.length > maxGlobLength) {
    throw new DocprocError("USAGE", `A glob has 1 to ${maxGlobLength} characters.`, { hint: "For example: '*.pdf'" });
  }
  const all = [...spelled(glob)];
  const tokens: Token[] = [];
  /** Of each brace that is not closed yet: its own place and those of its commas. */
  const braces: number[][] = [];
  for (let at = 0; at < all.length; at++) {
    const one = all[at] ?? "";
    const brackets = one === "[" ? bracketsFrom(all, at) : undefined;
    if (brackets) {
      tokens.push(brackets.token);
      at = brackets.end;
    } else if (one === "*") {
      const from = at;
      while (all[at + 1] === "*") at += 1;
      tokens.push({ kind: at > from ? "stars" : "star" });
    } else if (one === "?") {
      tokens.push(classOf([], true));
    } else if (one === "\\" && at + 1 < all.length) {
      at += 1;
      tokens.push(characterOf(codeOf(all[at] ?? "")));
    } else {
      // What is not closed, or not opened, is a character.
      tokens.push(characterOf(codeOf(one)));
      const here = tokens.length - 1;
      if (one === "{") braces.push([here]);
      else if (one === ",") braces.at(-1)?.push(here);
      else if (one === "}") closeBraces(tokens, [...(braces.pop() ?? []), here]);
    }
  }
  return withParts(tokens);
}

/** `[…]` from where it opens; undefined when it is not closed. A `]` that comes first is one of the characters. */
function bracketsFrom(all: readonly string[], open: number): { token: Token; end: number } | undefined {
  const negated = all[open + 1] === "!" || all[open + 1] === "^";
  const first = open + (negated ? 2 : 1);
  const ranges: number[] = [];
  /** A character, and the place behind it. */
  const characterAt = (at: number) =>
    all[at] === "\\" && at + 1 < all.length ? [codeOf(all[at + 1] ?? ""), at + 2] : [codeOf(all[at] ?? ""), at + 1];
  for (let at = first; at < all.length; ) {
    if (all[at] === "]" && at > first) return { token: classOf(ranges, negated), end: at };
    const [low = 0, next = 0] = characterAt(at);
    if (all[at] === "[" && all[next] === ":") throw unknown("[:alpha:]", "Write the characters, for example [a-z].");
    const isRange = all[next] === "-" && next + 1 < all.length && all[next + 1] !== "]";
    const [high = 0, end = 0] = isRange ? characterAt(next + 1) : [low, next];
    ranges.push(low, high);
    at = end;
  }
  return undefined;
}

/** One character. A slash is meant only where it is written out, and by `**`. */
function classOf(ranges: Ranges, negated: boolean): Token {
  if (negated) return { kind: "class", ranges: [...ranges, slash, slash], negated };
  const without: number[] = [];
  for (let at = 0; at < ranges.length; at += 2) {
    const [low = 0, high = 0] = [ranges[at], ranges[at + 1]];
    if (low < slash) without.push(low, Math.min(high, slash - 1));
    if (high > slash) without.push(Math.max(low, slash + 1), high);
  }
  return { kind: "class", ranges: without, negated };
}

function unknown(what: string, hint: string): DocprocError {
  return new DocprocError("USAGE", `In a glob, docproc does not know ${what}.`, { hint });
}

/** @param bounds of a pair of braces, or of one that was not opened */
function closeBraces(tokens: Token[], bounds: readonly number[]): void {
  const [open = 0, close = 0] = [bounds[0], bounds.at(-1)];
  for (const [index, at] of bounds.length > 2 ? bounds.entries() : []) {
    tokens[at] = { kind: index === 0 ? "open" : at === close ? "close" : "comma", bounds };
  }
  // To a shell this is 1, 2 and 3. As the characters that it is made of it would match nothing, in silence.
  if (bounds.length === 2 && /^-?\w+\.\.-?\w+(\.\.-?\d+)?$/.test(textOf(tokens.slice(open + 1, close)))) {
    throw unknown("{1..3}", "Write [1-3] or {1,2,3}. For these characters themselves: \\{1..3}");
  }
}

/** Finds out which `**` stand in place of whole parts of a path: between slashes, and at the ends. */
function withParts(tokens: readonly Token[]): Token[] {
  const isSlash = (token: Token | undefined) => token?.kind === "character" && token.code === slash;
  /** Whether a part begins here; in braces, where they begin. */
  const begins = (at: number): boolean => {
    const before = tokens[at - 1];
    if (before?.kind === "open" || before?.kind === "comma") return begins(before.bounds[0] ?? 0);
    return before === undefined || isSlash(before);
  };
  const ends = (at: number): boolean => {
    const behind = tokens[at + 1];
    if (behind?.kind === "close" || behind?.kind === "comma") return ends(behind.bounds.at(-1) ?? 0);
    return behind === undefined || isSlash(behind);
  };
  const stand = (at: number) => tokens[at]?.kind === "stars" && begins(at) && ends(at);
  return tokens.map((token, at): Token => {
    if (token.kind === "stars") return { kind: !stand(at) ? "star" : isSlash(tokens[at + 1]) ? "folders" : "parts" };
    return isSlash(token) && stand(at - 1) ? { kind: "slash of folders" } : token;
  });
}

/** Where a text can be in a glob, and where it goes from there. */
interface State {
  /** Characters that lead further, or all but them. */
  readonly ranges: Ranges;
  readonly negated: boolean;
  /** Where they lead; undefined where no character does. */
  readonly to: number | undefined;
  /** Where it goes without a character. */
  readonly free: readonly number[];
}

/** Where the beginning of a text can be. */
interface Reached {
  /** Those states that a character leads further from. */
  readonly states: readonly number[];
  readonly isEnd: boolean;
  /** By the next character, as far as it was asked for: a list is quicker, and others than these are many. */
  readonly byAscii: Reached[];
  readonly byOther: Map<number, Reached>;
}

const asciiCodes = 128;
const mostStatesKept = 100;
/** Numbers in all that is kept of what was met; some megabytes. */
const maxKept = 500_000;

class Automaton implements Glob {
  steps = 0;
  readonly #states: State[] = [];
  readonly #start: number;
  readonly #end: number;
  readonly #itself: string | undefined;
  #first: Reached | undefined;
  readonly #met = new Map<string, Reached>();
  #kept = 0;
  /** Of each state, the number of the set that it was put into last. */
  readonly #seen: number[] = [];
  #sets = 0;

  /** @param itself a text that is meant by its own name, even if there are brackets in it */
  constructor(tokens: readonly Token[], itself: string | undefined) {
    this.#itself = itself;
    this.#end = this.#pass([]);
    this.#start = this.#build(tokens, 0, tokens.length, this.#end);
  }

  matches(given: string): boolean {
    const text = given.normalize("NFC");
    if (text === this.#itself) return true;
    this.#first ??= this.#reach([this.#start]);
    let reached = this.#first;
    for (let at = 0; at < text.length; at++) {
      const code = text.codePointAt(at) ?? 0;
      if (code > 0xffff) at += 1;
      this.steps += 1;
      const known = code < asciiCodes ? reached.byAscii[code] : reached.byOther.get(code);
      reached = known ?? this.#advance(reached, code);
      if (reached.states.length === 0 && !reached.isEnd) return false;
    }
    return reached.isEnd;
  }

  #advance({ states, byAscii, byOther }: Reached, code: number): Reached {
    const starts: number[] = [];
    for (const index of states) {
      const { ranges, negated, to } = this.#states[index] as State;
      this.steps += 1 + ranges.length;
      if (to !== undefined && isIn(ranges, code) !== negated) starts.push(to);
    }
    const reached = this.#reach(starts);
    if (reached.states.length > mostStatesKept) return reached;
    if (code < asciiCodes) byAscii[code] = reached;
    else byOther.set(code, reached);
    this.#kept += 1;
    return reached;
  }

  /** All that some states lead to without a character. */
  #reach(starts: number[]): Reached {
    const states: number[] = [];
    this.#sets += 1;
    for (let index = starts.pop(); index !== undefined; index = starts.pop()) {
      this.steps += 1;
      if (this.#seen[index] === this.#sets) continue;
      this.#seen[index] = this.#sets;
      const { to, free } = this.#states[index] as State;
      if (to !== undefined) states.push(index);
      starts.push(...free);
    }
    const isEnd = this.#seen[this.#end] === this.#sets;
    const reached: Reached = { states, isEnd, byAscii: [], byOther: new Map() };
    // To look for a large set among those that were met takes longer than to make it again.
    if (states.length > mostStatesKept) return reached;
    const key = `${states.sort((one, other) => one - other).join()}${isEnd ? "." : ""}`;
    const known = this.#met.get(key);
    if (known) return known;
    // A text of so many different characters could fill the memory.
    if (this.#kept > maxKept) {
      this.#met.clear();
      this.#first = undefined;
      this.#kept = 0;
    }
    this.#met.set(key, reached);
    this.#kept += states.length + asciiCodes;
    return reached;
  }

  /** The states for some of the tokens; the text goes on at `goal` behind them. Returns where it begins. */
  #build(tokens: readonly Token[], from: number, to: number, goal: number): number {
    let next = goal;
    for (let at = to - 1; at >= from; at--) {
      const token = tokens[at] as Token;
      if (token.kind === "close") {
        const { bounds } = token;
        const behind = next;
        next = this.#pass(
          bounds.slice(1).map((end, index) => this.#build(tokens, (bounds[index] ?? 0) + 1, end, behind)),
        );
        at = bounds[0] ?? 0;
      } else {
        next = this.#stateFor(token, next);
      }
    }
    return next;
  }

  #stateFor(token: Token, next: number): number {
    switch (token.kind) {
      case "character":
        return this.#take([token.code, token.code], false, next);
      case "class":
        return this.#take(token.ranges, token.negated, next);
      case "star":
        return this.#repeat([slash, slash], next);
      case "parts":
        return this.#repeat([], next);
      case "folders":
        return this.#pass([next, this.#repeat([], this.#take([slash, slash], false, next))]);
      default:
        return next;
    }
  }

  #take(ranges: Ranges, negated: boolean, to: number): number {
    return this.#states.push({ ranges, negated, to, free: [] }) - 1;
  }

  /** Any number of characters that are not these. */
  #repeat(but: Ranges, next: number): number {
    return this.#states.push({ ranges: but, negated: true, to: this.#states.length, free: [next] }) - 1;
  }

  #pass(free: readonly number[]): number {
    return this.#states.push({ ranges: [], negated: false, to: undefined, free }) - 1;
  }
}

function isIn(ranges: Ranges, code: number): boolean {
  for (let at = 0; at < ranges.length; at += 2) {
    if (code >= (ranges[at] ?? 0) && code <= (ranges[at + 1] ?? 0)) return true;
  }
  return false;
}
