/** Draws a terminal: what the program prints on one, as an SVG whose text can be read, found and copied. */
import xterm, { type IBufferCell } from "@xterm/headless";
import { normalise } from "./compare.ts";
import type { Machine } from "./shell.ts";

export interface Picture {
  readonly title: string;
  /** What is to be seen, for whoever does not see it. */
  readonly description: string;
  readonly commands: readonly string[];
}

const columns = 100;
/** Pixels. A character of a monospaced font is 0.6 times as wide as the font's size. */
const fontSize = 14;
const cell = { width: fontSize * 0.6, height: 20 };
const margin = 20;

/** Runs the commands on pseudo-terminals, which `script` of util-linux makes, and draws what they leave on the screen. */
export async function drawTerminal({ title, description, commands }: Picture, machine: Machine): Promise<string> {
  const terminal = new xterm.Terminal({ cols: columns, rows: 100, allowProposedApi: true });
  const write = (text: string) => new Promise<void>((resolve) => terminal.write(text, resolve));
  await machine.run("unset NO_COLOR; export TERM=xterm-256color");
  for (const [index, command] of commands.entries()) {
    const { lines } = await machine.run(`script -qc 'stty cols ${columns} rows 40; ${command}' /dev/null`);
    if (index > 0) await write("\r\n");
    await write(`\x1b[2m$\x1b[0m \x1b[1m${command}\x1b[0m\r\n`);
    await write(lines.map((line) => `${line.replace(/\r$/, "")}\r\n`).join(""));
    // Progress was drawn on the last lines, and is gone.
    while (isBlank(terminal, terminal.buffer.active.cursorY - 1)) await write("\x1b[A");
  }
  const rows = Array.from({ length: terminal.buffer.active.cursorY }, (_, row) => runsOf(terminal, row));
  terminal.dispose();
  return svg(title, description, rows);
}

function lineAt(terminal: xterm.Terminal, row: number) {
  return terminal.buffer.active.getLine(terminal.buffer.active.baseY + row);
}

function isBlank(terminal: xterm.Terminal, row: number): boolean {
  return lineAt(terminal, row)?.translateToString(true) === "";
}

interface Run {
  readonly column: number;
  readonly style: string;
  text: string;
}

/** Neighbours of one style. Text behind a gap begins anew, so that columns stay columns in any font. */
function runsOf(terminal: xterm.Terminal, row: number): Run[] {
  const runs: Run[] = [];
  const line = lineAt(terminal, row);
  for (let column = 0; column < columns; column += 1) {
    const character = line?.getCell(column);
    if (!character || character.getWidth() === 0) continue;
    const [style, text] = [styleOf(character), character.getChars() || " "];
    const last = runs.at(-1);
    const isGap = text !== " " && /^ +$| {2}$/.test(last?.text ?? "");
    if (last && last.style === style && !isGap) last.text += text;
    else runs.push({ column, style, text });
  }
  const trimmed = runs.map((run) => ({ ...run, text: run.text.trimEnd() }));
  return trimmed.filter(({ text }) => text !== "");
}

/** Foregrounds that have a colour in both schemes below; the program uses no others. */
const colors: Record<number, string> = { 1: "red", 2: "green", 3: "yellow", 6: "cyan" };

function styleOf(character: IBufferCell): string {
  const color = character.isFgDefault() ? "" : colors[character.getFgColor()];
  if (color === undefined || !character.isBgDefault()) throw new Error("The picture has no such colour yet.");
  return [color, character.isBold() && "bold", character.isDim() && "dim"].filter(Boolean).join(" ");
}

/** Colours are those of GitHub's two schemes, each with a contrast of 4.5 or more to its background. */
function svg(title: string, description: string, rows: readonly (readonly Run[])[]): string {
  const [width, height] = [columns * cell.width + 2 * margin, rows.length * cell.height + 2 * margin];
  const lines = rows.flatMap((runs, index) => {
    const y = margin + (index + 0.75) * cell.height;
    return runs.length === 0 ? [] : [`<text y="${y}">${runs.map(tspan).join("")}</text>`];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title desc">
<title id="title">${escapeXml(title)}</title>
<desc id="desc">${escapeXml(description)}</desc>
<style>
rect { fill: #ffffff; stroke: #d1d9e0 }
text { font-size: ${fontSize}px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
text { fill: #1f2328 }
.red { fill: #cf222e } .green { fill: #1a7f37 } .yellow { fill: #7d4e00 } .cyan { fill: #1b7c83 } .dim { fill: #59636e }
.bold { font-weight: 600 }
@media (prefers-color-scheme: dark) {
rect { fill: #0d1117; stroke: #3d444d }
text { fill: #f0f6fc }
.red { fill: #ff7b72 } .green { fill: #3fb950 } .yellow { fill: #d29922 } .cyan { fill: #39c5cf } .dim { fill: #9198a1 }
}
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${lines.join("\n")}
</svg>
`;
}

function tspan({ column, style, text }: Run): string {
  const x = Math.round((margin + column * cell.width) * 10) / 10;
  return `<tspan x="${x}"${style && ` class="${style}"`}>${escapeXml(text)}</tspan>`;
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** What has to be the same in two pictures of the same program: the words and their colours, line by line. */
export function contentOf(picture: string): string[] {
  const rows = picture.split("\n").filter((line) => /^<(text|title|desc)\b/.test(line));
  // Files are uploaded side by side: any of them may be the first.
  return rows.map((row) => normalise(row.replace(/ [xy]="[\d.]+"/g, ""))).sort();
}
