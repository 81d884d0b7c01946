/**
 * Extra output for a GitHub Actions step: ids and uris as outputs, a table in the summary, failures as annotations.
 * Wraps the reporter that the flags chose.
 */
import { randomUUID } from "node:crypto";
import { appendFile } from "node:fs/promises";
import prettyBytes from "pretty-bytes";
import { type DocprocError, fromSystemError } from "../../core/errors.ts";
import { display } from "./display.ts";
import type { OutputStream, ProblemInput, ReportedItem, Reporter, Result } from "./reporter.ts";
import { withoutCommands } from "./runner-commands.ts";

/**
 * Characters of ids and addresses to output; further documents are only counted. All outputs of a job share a megabyte,
 * at two bytes a character.
 * https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs
 */
const maxCharacters = 256 * 1024;

/** Characters of failures in the summary, before they are escaped; further ones are only counted. */
const maxFailureCharacters = 64 * 1024;

/** The part of an uploaded record that is output. */
interface UploadedItem {
  readonly id: string | null;
  readonly path: string;
  readonly size: number | null;
  readonly uri: string | null;
  readonly action: string;
}

interface FailedItem {
  readonly label: string;
  readonly error: Pick<DocprocError, "code" | "message">;
}

export interface GithubOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stderr: OutputStream;
  /** Whether the items of this command are documents that the job created. */
  readonly makesDocuments: boolean;
}

export class GithubReporter implements Reporter {
  readonly #inner: Reporter;
  readonly #options: GithubOptions;
  readonly #made: UploadedItem[] = [];
  readonly #failed: FailedItem[] = [];
  #characters = 0;
  #count = 0;
  #failureCharacters = 0;
  #failedCount = 0;
  #annotated = false;

  constructor(inner: Reporter, options: GithubOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  get keepsOrder() {
    return this.#inner.keepsOrder;
  }

  get closed() {
    return this.#inner.closed;
  }

  get progress() {
    return this.#inner.progress;
  }

  item(item: ReportedItem): Promise<void> | undefined {
    if (this.#options.makesDocuments) {
      this.#count += 1;
      const made = item.value as UploadedItem;
      this.#characters += (made.id?.length ?? 0) + (made.uri?.length ?? 0) + made.path.length;
      if (this.#characters <= maxCharacters) this.#made.push(made);
    }
    return this.#inner.item(item);
  }

  problem(label: string, error: DocprocError, about?: ProblemInput): void {
    if (!about?.only) {
      this.#annotate(error, `${label}: ${error.message}`);
      this.#failedCount += 1;
      this.#failureCharacters += label.length + error.message.length;
      if (this.#failureCharacters <= maxFailureCharacters) {
        this.#failed.push({ label, error: { code: error.code, message: error.message } });
      }
    }
    this.#inner.problem(label, error, about);
  }

  note(message: string): void {
    this.#inner.note(message);
  }

  debug(message: string): void {
    this.#inner.debug(message);
  }

  async result(result: Result): Promise<void> {
    if (this.#options.makesDocuments) {
      const { GITHUB_OUTPUT, GITHUB_STEP_SUMMARY } = this.#options.env;
      await this.#append(GITHUB_OUTPUT, outputs(this.#made));
      await this.#append(GITHUB_STEP_SUMMARY, this.#summary(result.failure));
    }
    await this.#inner.result(result);
  }

  failure(error: DocprocError): void {
    // Skipped after failures of files, which it only counts. First, as the error must be the last line.
    if (!this.#annotated) this.#annotate(error, error.message);
    this.#inner.failure(error);
  }

  /** What the step made and what failed, then why the whole command failed. */
  #summary(failure: DocprocError | undefined): string {
    const made = this.#made.map(({ path, size, action, id }) => [
      path,
      size === null ? "" : prettyBytes(size),
      action,
      id ?? "",
    ]);
    const failed = this.#failed.map(({ label, error }) => [label, error.code, error.message]);
    return `${[
      "### docproc upload",
      ...table("| document | size | | id |", "|---|---|---|---|", made, this.#count),
      ...table("| failed | | why |", "|---|---|---|", failed, this.#failedCount),
      ...(failure === undefined ? [] : [`**${failure.code}**: ${markdown(failure.message)}`]),
    ].join("\n\n")}\n\n`;
  }

  /** The documents are stored even if this cannot be written. */
  async #append(file: string | undefined, text: string): Promise<void> {
    if (!file) return;
    try {
      await appendFile(file, text);
    } catch (error) {
      const { message } = fromSystemError(error, file);
      this.progress.interrupt(() => this.#options.stderr.write(`::warning title=docproc::${commandData(message)}\n`));
    }
  }

  /** https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands */
  #annotate({ code, hint }: DocprocError, message: string): void {
    this.#annotated = true;
    const text = commandData(hint ? `${message} ${hint}` : message);
    this.progress.interrupt(() => this.#options.stderr.write(`::error title=docproc ${code}::${text}\n`));
  }
}

/** Escapes percent signs and line ends, so that a message is one line and no further command. */
function commandData(text: string): string {
  return withoutCommands(text, "\\u{23}").replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function outputs(made: readonly UploadedItem[]): string {
  const lines = (values: readonly (string | null)[]) => values.filter((value) => value !== null).join("\n");
  const [ids, uris] = [lines(made.map(({ id }) => id)), lines(made.map(({ uri }) => uri))];
  const [first] = made;
  const values = { id: first?.id ?? "", uri: first?.uri ?? "", ids, uris };
  // An unguessable end marker.
  const end = `docproc_${randomUUID()}`;
  return Object.entries(values)
    .map(([name, value]) => `${name}<<${end}\n${value}\n${end}\n`)
    .join("");
}

/** @param count of all rows, of which those behind the given ones are counted */
function table(heading: string, rule: string, rows: readonly (readonly string[])[], count: number): string[] {
  const lines = rows.map((cells) => `| ${cells.map(markdown).join(" | ")} |`);
  const more = count > rows.length ? [`and ${count - rows.length} more`] : [];
  return [...(lines.length === 0 ? [] : [[heading, rule, ...lines].join("\n")]), ...more];
}

/** Escapes foreign text, so that it is neither Markdown nor HTML. */
function markdown(text: string): string {
  return display(text)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replace(/[\\`*_{}[\]()#+!|~@:]/g, (mark) => `\\${mark}`);
}
