/**
 * Parses a git configuration file as git does, as nothing but data: no includes, nothing executed. Own code, since a
 * parser that sees other sections than git does is how a repository hides one.
 * https://git-scm.com/docs/git-config#_syntax, and `git_parse_source` in git's config.c for open questions.
 */

/**
 * The values of a file in order, by the name that git prints: `remote.up.stream.url`. Section and key are lower case,
 * the subsection is as written. A key without a value is `true`.
 */
export type GitConfig = ReadonlyMap<string, readonly (string | true)[]>;

const escapes: Readonly<Record<string, string>> = { t: "\t", b: "\b", n: "\n", "\\": "\\", '"': '"', "\n": "" };

/** @throws Error naming the line, for a file that git would refuse */
export function parseGitConfig(text: string): GitConfig {
  const found = new Map<string, (string | true)[]>();
  const source = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  let position = 0;
  let section = "";
  // The patterns avoid \s and the dot, which match other characters than git does.
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(source);
    if (match) position = pattern.lastIndex;
    return match;
  };
  const refusal = () => new Error(`line ${source.slice(0, position).split("\n").length} of its config is invalid`);

  while (position < source.length) {
    if (take(/[ \t\r\n]+|[#;][^\n]*/y)) continue;
    // Values may follow on the same line.
    const header = take(/\[([A-Za-z0-9.-]+)(?:[ \t\r]+"((?:[^"\\\n]|\\[^\n])*)")?\]/y);
    if (header) {
      const [, name = "", subsection] = header;
      section = name.toLowerCase() + (subsection === undefined ? "" : `.${subsection.replace(/\\(.)/gsu, "$1")}`);
      continue;
    }
    const key = take(/([A-Za-z][A-Za-z0-9-]*)[ \t]*(=|\n|$)/y);
    if (key === null) throw refusal();
    const name = `${section}${section && "."}${key[1]?.toLowerCase()}`;
    const values = found.get(name) ?? [];
    values.push(key[2] === "=" ? takeValue() : true);
    found.set(name, values);
  }
  return found;

  /** Reads to the end of the line, or of the last continued line. */
  function takeValue(): string {
    let value = "";
    // Trailing spaces are not part of the value.
    let end = 0;
    let quoted = false;
    for (; position < source.length && source[position] !== "\n"; position += 1) {
      const character = source[position] ?? "";
      if (!quoted && /[#;]/.test(character)) {
        take(/[^\n]*/y);
        break;
      }
      if (!quoted && /[ \t\r]/.test(character)) {
        if (value !== "") value += character;
        continue;
      }
      if (character === '"') quoted = !quoted;
      else value += character === "\\" ? takeEscaped() : character;
      end = value.length;
    }
    if (quoted) throw refusal();
    return value.slice(0, end);
  }

  /** Ends at the last character of the escape. */
  function takeEscaped(): string {
    const escaped = escapes[source[position + 1] ?? "\n"];
    if (escaped === undefined) throw refusal();
    if (position + 1 < source.length) position += 1;
    return escaped;
  }
}
