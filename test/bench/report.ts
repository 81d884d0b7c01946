/** What came out: a table for people, and which goals are met. */
import type { CpuInfo } from "node:os";
import prettyBytes from "pretty-bytes";
import type { Case, Goal } from "./cases.ts";
import type { Run, Runs } from "./rounds.ts";

/** Of several runs. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

interface Row {
  readonly contender: string;
  /** Seconds. */
  readonly wall: Spread;
  readonly cpu: Spread | null;
  /** Bytes. */
  readonly peak: Spread | null;
  readonly requests: Spread | null;
  /** The first contender's wall time over this one's, round by round; null for the first. */
  readonly ratio: Spread | null;
}

interface Verdict extends Goal {
  readonly is: Spread | null;
  /** The median decides; null where the other contender is missing. */
  readonly met: boolean | null;
}

export interface Report {
  readonly case: string;
  readonly name: string;
  readonly about: string;
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly goals: readonly Verdict[];
}

type Figure = Goal["figure"];

export function reportOf(name: string, { name: title, about, contenders, goals }: Case, runs: Runs): Report {
  const of = (contender: string) => runs[contender] ?? [];
  const first = contenders[0]?.name ?? "";
  const rows = contenders.map(({ name: contender }): Row => {
    const spread = (figure: Figure) => spreadOf(of(contender).map((run) => run[figure]));
    const ratio = contender === first ? null : spreadOf(ratios(of(first), of(contender), "wall"));
    const wall = spread("wall") ?? { median: 0, min: 0, max: 0 };
    return { contender, wall, cpu: spread("cpu"), peak: spread("peak"), requests: spread("requests"), ratio };
  });
  const verdicts = goals.map((goal): Verdict => {
    const values =
      goal.to === undefined ? of(first).map((run) => run[goal.figure]) : ratios(of(first), of(goal.to), goal.figure);
    const is = spreadOf(values);
    return { ...goal, is, met: is && is.median <= goal.atMost };
  });
  return { case: name, name: title, about, rounds: of(first).length, rows, goals: verdicts };
}

function ratios(runs: readonly Run[], others: readonly Run[], figure: Figure): (number | null)[] {
  return others.map((other, round) => {
    const [ours, theirs] = [runs[round]?.[figure] ?? null, other[figure]];
    return ours === null || theirs === null ? null : ours / theirs;
  });
}

function spreadOf(values: readonly (number | null)[]): Spread | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined || sorted.length < values.length) return null;
  const upper = sorted[Math.floor(sorted.length / 2)] ?? max;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? min;
  return { median: (lower + upper) / 2, min, max };
}

export function machine(processors: readonly CpuInfo[]): string {
  return `Node ${process.versions.node} on ${process.platform}, ${processors.length} x ${processors[0]?.model ?? "?"}`;
}

/** As a Markdown table, and a line for each goal. */
export function print({ name, about, rounds, rows, goals }: Report, write: (text: string) => void): void {
  const table = [
    ["", "wall s", "CPU s", "peak memory", "requests/document", "ratio of wall times (min-max)"],
    ...rows.map(({ contender, wall, cpu, peak, requests, ratio }) => [
      contender,
      `${number(wall.median)} (${number(wall.min)}-${number(wall.max)})`,
      cpu ? number(cpu.median) : "-",
      peak ? bytes(peak.median) : "-",
      requests ? number(requests.median) : "-",
      ratio ? spreadText(ratio, number) : "",
    ]),
  ];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = table.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  write(`\n### ${name}\n${about}; ${rounds} ${rounds === 1 ? "round" : "rounds"}\n\n`);
  write(`${[lines[0], rule, ...lines.slice(1)].join("\n")}\n\n`);
  for (const { figure, to, atMost, is, met } of goals) {
    const text = figure === "peak" && to === undefined ? bytes : number;
    const what = `${figure}${to === undefined ? "" : ` to ${to}`} at most ${text(atMost)}`;
    const outcome = met === null ? "not measured" : met ? "met" : "MISSED";
    write(`- ${outcome}: ${what}${is ? `, is ${spreadText(is, text)}` : ""}\n`);
  }
}

function spreadText({ median, min, max }: Spread, text: (value: number) => string): string {
  return `${text(median)} (${text(min)}-${text(max)})`;
}

function number(value: number): string {
  return value.toPrecision(3);
}

function bytes(value: number): string {
  return prettyBytes(value);
}
