/**
 * Text that a CI runner would execute as a command when a program prints it, for example inside a file name.
 *
 * GitHub obeys `::command::` after nothing but white space, and `##[command]` anywhere:
 * https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
 * Azure obeys `##vso[command]` and TeamCity `##teamcity[command]`:
 * https://learn.microsoft.com/en-us/azure/devops/pipelines/scripts/logging-commands
 * https://www.jetbrains.com/help/teamcity/service-messages.html
 */

/** Line ends are excluded from the white space, or the search would be quadratic in their number. */
const colons = /^((?:[^\S\n\r\u2028\u2029]|\x85)*):(?=(:(?:[^\s:]|:(?!:)){0,40}(?:\s|::)?))/gm;
/** The last group holds the command's name and terminator: text that contains all of it controls the command. */
const numberSigns = /()#(?=(#(?:vso|teamcity)?\[[^\s\]]{0,40}[\s\]]?))/gi;

/**
 * Defuses commands in text that does not begin a line.
 * @param hash replaces the first character of a command
 */
export function withoutCommands(text: string, hash: string): string {
  return text.includes("##") ? text.replace(numberSigns, () => hash) : text;
}

/** Defuses commands in whole lines. */
export function linesWithoutCommands(text: string): string {
  const lines = text.includes("::") ? text.replace(colons, "$1\\u{3a}") : text;
  return withoutCommands(lines, "\\u{23}");
}

/** Whether a CI runner that obeys commands reads the output. Gitea and Forgejo present themselves as GitHub. */
export function isReadForCommands(env: Readonly<Record<string, string | undefined>>): boolean {
  return env["GITHUB_ACTIONS"] === "true" || Boolean(env["TF_BUILD"] || env["TEAMCITY_VERSION"]);
}

/** A part of a line. */
export interface LinePiece {
  readonly text: string;
  /** Whether it is from the command line, whose author may mean a command. */
  readonly own: boolean;
}

/** Joins the pieces, and defuses every command that is not entirely their own. */
export function joinWithoutCommands(pieces: readonly LinePiece[]): string {
  const text = pieces.map((piece) => piece.text).join("");
  if (!text.includes("::") && !text.includes("##")) return text;
  const isOwn = pieces.map((piece) => (piece.own ? "y" : "n").repeat(piece.text.length)).join("");
  const characters = text.split("");
  for (const match of [...text.matchAll(colons), ...text.matchAll(numberSigns)]) {
    const [, before = "", rest = ""] = match;
    const at = match.index + before.length;
    if (!isOwn.slice(at, at + 1 + rest.length).includes("n")) continue;
    characters[at] = `\\u{${text.charCodeAt(at).toString(16)}}`;
  }
  return characters.join("");
}
