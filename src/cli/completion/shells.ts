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
 * @param args what docproc is called with, before the words of the command line
 */
export function completionScript(shell: ShellName, args: readonly string[]): string {
  return `${adapters[shell].generateScript("docproc", args).trim()}\n`;
}

/** A word as a shell's script passes it on: bash's does so as it was typed, the others' have taken the quotes away. */
export function wordFrom(shell: ShellName, typed: string): string {
  if (shell !== "bash") return typed;
  return typed.replace(/\\(.)|'([^']*)'?|"((?:\\.|[^"\\])*)"?/gsu, (_, escaped, single, double) => {
    return escaped ?? single ?? double.replace(/\\([$`"\\])/gu, "$1");
  });
}

/**
 * What a shell's script reads: one suggestion a line, each in the form in which nothing of it is a command when it is
 * on the command line.
 * @param typed the word that is completed, as it came
 */
export function forShell(shell: ShellName, suggestions: readonly Suggestion[], typed: string): string {
  const told = suggestions.flatMap((one): Suggestion[] => (one.kind === "file" ? [one] : quotedFor(shell, one, typed)));
  return [...adapters[shell].encodeSuggestions(told)].join("");
}

/** Most shells quote what they insert. bash leaves that to who suggests it, and fish takes a tilde for a home directory. */
function quotedFor(shell: ShellName, suggestion: Literal, typed: string): Literal[] {
  if (shell === "fish" && suggestion.text.startsWith("~")) return [];
  const text = shell === "bash" ? quotedForBash(suggestion.text, typed) : suggestion.text;
  return text === undefined ? [] : [{ ...suggestion, text }];
}

/** @returns undefined for what cannot stand between the quotes that were opened */
function quotedForBash(text: string, typed: string): string | undefined {
  // Behind an open quote bash replaces what follows it. In double quotes an exclamation mark is history.
  if (typed.startsWith("'")) return text.includes("'") ? undefined : text;
  if (typed.startsWith('"')) return /[$`"\\!]/u.test(text) ? undefined : text;
  return text.replace(/[^\w%+=,./\u{80}-\u{10ffff}-]/gu, "\\$&");
}
