/** The supported shells: the completion script that each one loads, and the format of our replies to it. */
import { bash, fish, pwsh, type ShellCompletion, zsh } from "@optique/core/completion";
import type { Suggestion } from "@optique/core/parser";

export type { Suggestion };

type Literal = Extract<Suggestion, { kind: "literal" }>;

const adapters = { bash, zsh, fish, powershell: pwsh } as const satisfies Record<string, ShellCompletion>;

export type ShellName = keyof typeof adapters;

export function isShell(name: string): name is ShellName {
  return Object.hasOwn(adapters, name);
}

/**
 * The script that teaches a shell to complete `docproc`.
 * @param args arguments of docproc before the words of the command line
 */
export function completionScript(shell: ShellName, args: readonly string[]): string {
  return `${adapters[shell].generateScript("docproc", args).trim()}\n`;
}

/** Unquotes a word from a shell's script: bash passes it as typed, the others already unquoted. */
export function wordFrom(shell: ShellName, typed: string): string {
  if (shell !== "bash") return typed;
  return typed.replace(/\\(.)|'([^']*)'?|"((?:\\.|[^"\\])*)"?/gsu, (_, escaped, single, double) => {
    return escaped ?? single ?? double.replace(/\\([$`"\\])/gu, "$1");
  });
}

/**
 * Encodes suggestions for a shell's script: one per line, quoted so that the shell executes nothing in them.
 * @param typed the word being completed, as received
 */
export function forShell(shell: ShellName, suggestions: readonly Suggestion[], typed: string): string {
  const told = suggestions.flatMap((one): Suggestion[] => (one.kind === "file" ? [one] : quotedFor(shell, one, typed)));
  return [...adapters[shell].encodeSuggestions(told)].join("");
}

/** Most shells quote what they insert. bash leaves it to us, and fish expands a tilde. */
function quotedFor(shell: ShellName, suggestion: Literal, typed: string): Literal[] {
  if (shell === "fish" && suggestion.text.startsWith("~")) return [];
  const text = shell === "bash" ? quotedForBash(suggestion.text, typed) : suggestion.text;
  return text === undefined ? [] : [{ ...suggestion, text }];
}

/** @returns undefined for text that does not fit the opened quotes */
function quotedForBash(text: string, typed: string): string | undefined {
  // After an open quote bash replaces the rest. In double quotes an exclamation mark is history expansion.
  if (typed.startsWith("'")) return text.includes("'") ? undefined : text;
  if (typed.startsWith('"')) return /[$`"\\!]/u.test(text) ? undefined : text;
  return text.replace(/[^\w%+=,./\u{80}-\u{10ffff}-]/gu, "\\$&");
}
