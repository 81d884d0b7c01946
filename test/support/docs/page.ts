/** A page of documentation as the steps that a reader would take. The convention is described in test/project/docs.test.ts. */
import { readFileSync } from "node:fs";
import type { Code } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { visit } from "unist-util-visit";
import type { FaultRule } from "../fault-proxy.ts";

export interface Command {
  readonly kind: "command";
  readonly line: number;
  readonly text: string;
  /** Lines that the page shows below the command. */
  readonly expected: readonly string[];
  /** Where {@link expected} is in the page, counted from 0: the first line, and the one after the last. */
  readonly at: readonly [start: number, end: number];
  /** What stands before each line of the block, for one in a list. */
  readonly indent: string;
  readonly anyOrder: boolean;
  /** True where the next command of the block is `echo $?`: only then may the status be another one than 0. */
  readonly showsStatus: boolean;
}

export type Step =
  | Command
  | { readonly kind: "script"; readonly line: number; readonly text: string }
  | { readonly kind: "setup"; readonly line: number; readonly text: string }
  | { readonly kind: "file"; readonly line: number; readonly name: string; readonly text: string }
  | { readonly kind: "fault"; readonly line: number; readonly rule: FaultRule | undefined };

export interface Skipped {
  readonly line: number;
  readonly reason: string;
}

export interface Page {
  readonly path: string;
  readonly steps: readonly Step[];
  /** Blocks that say that they are not run, and why. */
  readonly notRun: readonly Skipped[];
  /** Programs that the page needs beside docproc, node and what every POSIX system has. */
  readonly needs: readonly string[];
}

/** @throws Error for a block or a marker that breaks the convention, naming its line */
export function readPage(path: string): Page {
  return parsePage(path, readFileSync(path, "utf8"));
}

export function parsePage(path: string, text: string): Page {
  const steps: Step[] = [];
  const notRun: Skipped[] = [];
  const needs: string[] = [];
  let markers = new Map<string, string>();

  visit(fromMarkdown(text), (node) => {
    const line = node.position?.start.line ?? 0;
    const wrong = (what: string) => new Error(`${path}:${line}: ${what}`);
    if (node.type === "html") {
      for (const [, name = "", value = ""] of node.value.matchAll(markerPattern)) {
        if (name === "run") steps.push({ kind: "setup", line, text: value });
        else if (name === "fault") steps.push({ kind: "fault", line, rule: ruleFrom(value, wrong) });
        else if (name === "needs") needs.push(...value.split(/[\s,]+/));
        else markers.set(name, value);
      }
    }
    if (node.type !== "code") return;
    const mine = markers;
    markers = new Map();
    const isExecutable = node.lang === "console" || node.lang === "sh";
    const file = mine.get("file");
    const reason = mine.get("not run");
    if (reason !== undefined) {
      if (reason === "") throw wrong("a block that is not run needs a reason");
      if (isExecutable) notRun.push({ line, reason });
    } else if (file !== undefined) steps.push({ kind: "file", line, name: file, text: `${node.value}\n` });
    else if (node.lang === "sh") steps.push({ kind: "script", line, text: node.value });
    else if (node.lang === "console") steps.push(...commandsOf(node, mine.has("any order"), wrong));
    else if (/^(bash|shell|shell-session|zsh|fish)$/.test(node.lang ?? "")) {
      throw wrong(`${node.lang} is never run: use console, sh, or say why not with <!-- not run: … -->`);
    }
  });
  return { path, steps, notRun, needs };
}

/** `<!-- name: value -->`. Comments that are no markers are for whoever edits the page. */
const markerPattern = /<!--\s*(not run|any order|needs|file|run|fault)\b:?\s*([\s\S]*?)\s*-->/g;

function ruleFrom(value: string, wrong: (what: string) => Error): FaultRule | undefined {
  if (value === "none") return undefined;
  try {
    return JSON.parse(value) as FaultRule;
  } catch (error) {
    throw wrong(`not a rule of test/support/fault-proxy.ts: ${error}`);
  }
}

function commandsOf(node: Code, anyOrder: boolean, wrong: (what: string) => Error): Command[] {
  const { start } = node.position ?? { start: { line: 1, column: 1 } };
  const indent = " ".repeat(start.column - 1);
  const lines = node.value.split("\n");
  const starts = lines.flatMap((line, index) => (line.startsWith("$ ") ? [index] : []));
  if (starts[0] !== 0) throw wrong("a console block begins with a command: $ …");
  return starts.map((first, index) => {
    const next = starts[index + 1] ?? lines.length;
    let body = first + 1;
    while (body < next && (lines[body]?.startsWith("> ") || lines[body] === ">" || lines[body - 1]?.endsWith("\\"))) {
      body += 1;
    }
    const [head = "", ...more] = lines.slice(first, body);
    return {
      kind: "command",
      // The fence is the line that the node begins with.
      line: start.line + 1 + first,
      text: [head.slice(2), ...more.map((line) => line.replace(/^> ?/, ""))].join("\n"),
      expected: lines.slice(body, next),
      at: [start.line + body, start.line + next],
      indent,
      anyOrder,
      showsStatus: lines[next] === "$ echo $?",
    };
  });
}
