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
  /** Steps of all matching so far, some nanoseconds each; at most eight times the glob's length per character. */
  readonly steps: number;
}

const maxGlobLength = 1024;

/** @throws USAGE as {@link compileGlob} */
export function globMatcher(glob: string): (text: string) => boolean {
  const compiled = compileGlob(glob);
  return (text) => compiled.matches(text);
}

/** @throws USAGE for an empty or too long glob, and for syntax of other programs that docproc does not support */
export function compileGlob(glob: string): Glob {
  return new Automaton(tokensOf(glob), glob.includes("\\") ? undefined : spelled(glob));
}

/** Special characters of SQLite's GLOB: https://www.sqlite.org/lang_expr.html#glob */
const special = new Set([..."*?["].map(codeOf));

/**
 * The literal beginning and end of every match, in characters that are plain in SQLite's GLOB. They do not overlap, and
 * either may be empty.
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

/** A token of a glob; `at` and `bounds` are indexes into the token list. */
type Token =
  | { readonly kind: "character"; readonly code: number }
  | { readonly kind: "class"; readonly ranges: Ranges; readonly negated: boolean }
  /** `*`: any characters but slashes. */
  | { readonly kind: "star" }
  /** `**`, a star until its position is known. */
  | { readonly kind: "stars" }
  /** `**` as whole path segments: any characters. */
  | { readonly kind: "parts" }
  /** `**` and the slash after it: any characters up to a slash, or nothing. */
  | { readonly kind: "folders" | "slash of folders" }
  /** The parts of braces; `bounds`: where they open, their commas, and where they close. */
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

/** Names are stored in NFC, so the glob is normalised too. A leading `./` is dropped, since no path starts with it. */
function spelled(glob: string): string {
  return glob.normalize("NFC").replace(/^(\.\/)+(?=.)/s, "");
}

function tokensOf(glob: string): Token[] {
  if (glob === "" || glob.length > maxGlobLength) {
    throw new DocprocError("USAGE", `A glob must have 1 to ${maxGlobLength} characters.`, {
      hint: "For example: '*.pdf'",
    });
  }
  const all = [...spelled(glob)];
  const tokens: Token[] = [];
  /** For each open brace, the positions of the brace and its commas. */
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
      // An unmatched brace is a plain character.
      tokens.push(characterOf(codeOf(one)));
      const here = tokens.length - 1;
      if (one === "{") braces.push([here]);
      else if (one === ",") braces.at(-1)?.push(here);
      else if (one === "}") closeBraces(tokens, [...(braces.pop() ?? []), here]);
    }
  }
  return withParts(tokens);
}

/** `[…]` from its opening; undefined when it is not closed. A `]` in first place is a character. */
function bracketsFrom(all: readonly string[], open: number): { token: Token; end: number } | undefined {
  const negated = all[open + 1] === "!" || all[open + 1] === "^";
  const first = open + (negated ? 2 : 1);
  const ranges: number[] = [];
  /** A character, and the index after it. */
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

/** Matches one character. A slash is matched only literally and by `**`. */
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
  return new DocprocError("USAGE", `Globs do not support ${what}.`, { hint });
}

/** @param bounds of a pair of braces, or of an unmatched closing one */
function closeBraces(tokens: Token[], bounds: readonly number[]): void {
  const [open = 0, close = 0] = [bounds[0], bounds.at(-1)];
  for (const [index, at] of bounds.length > 2 ? bounds.entries() : []) {
    tokens[at] = { kind: index === 0 ? "open" : at === close ? "close" : "comma", bounds };
  }
  // To a shell this means 1, 2 and 3. Taken literally it would silently match nothing.
  if (bounds.length === 2 && /^-?\w+\.\.-?\w+(\.\.-?\d+)?$/.test(textOf(tokens.slice(open + 1, close)))) {
    throw unknown("{1..3}", "Write [1-3] or {1,2,3}. For these characters themselves: \\{1..3}");
  }
}

/** Decides which `**` are whole path segments: those between slashes or at the ends. */
function withParts(tokens: readonly Token[]): Token[] {
  const isSlash = (token: Token | undefined) => token?.kind === "character" && token.code === slash;
  /** Whether a segment begins here; braces count as their start. */
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

/** A state of the automaton. */
interface State {
  /** Characters that lead on; `negated`: all others. */
  readonly ranges: Ranges;
  readonly negated: boolean;
  /** The next state; undefined when no character leads on. */
  readonly to: number | undefined;
  /** States reachable without a character. */
  readonly free: readonly number[];
}

/** The states that a prefix can reach. */
interface Reached {
  /** The states with a way on by character. */
  readonly states: readonly number[];
  readonly isEnd: boolean;
  /** Cached successors by next character: a list is fastest for ASCII. */
  readonly byAscii: Reached[];
  readonly byOther: Map<number, Reached>;
}

const asciiCodes = 128;
const maxStatesKept = 100;
/** Limit of cached numbers; some megabytes. */
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
  /** For each state, the number of the last set that it was added to. */
  readonly #seen: number[] = [];
  #sets = 0;

  /** @param itself a text that always matches, even if it contains brackets */
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
    if (reached.states.length > maxStatesKept) return reached;
    if (code < asciiCodes) byAscii[code] = reached;
    else byOther.set(code, reached);
    this.#kept += 1;
    return reached;
  }

  /** The closure over moves without a character. */
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
    // Looking up a large set takes longer than building it.
    if (states.length > maxStatesKept) return reached;
    const key = `${states.sort((one, other) => one - other).join()}${isEnd ? "." : ""}`;
    const known = this.#met.get(key);
    if (known) return known;
    // A text with very many different characters could fill the memory.
    if (this.#kept > maxKept) {
      this.#met.clear();
      this.#first = undefined;
      this.#kept = 0;
    }
    this.#met.set(key, reached);
    this.#kept += states.length + asciiCodes;
    return reached;
  }

  /** Builds the states for some tokens, continuing at `goal`. Returns the first state. */
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

  /** Any number of characters outside of these ranges. */
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
