/** The JSON document of a command with any number of items, in pieces, so that it is written while the items come. */
import type { DocprocError } from "../../core/errors.ts";
import type { ItemDocument } from "./reporter.ts";
import { withoutCommands } from "./runner-commands.ts";

export class JsonDocument {
  readonly #form: ItemDocument;
  readonly #failures = new HeldText();
  #items = 0;
  #failed = 0;

  constructor(form: ItemDocument) {
    this.#form = form;
  }

  /** Whether there is anything that the document would say beside an error. */
  get isBegun(): boolean {
    return this.#items + this.#failed > 0;
  }

  /** The text that adds an item. */
  item(value: object): string {
    const before = this.#items === 0 ? this.#head() : ",";
    this.#items += 1;
    return `${before}\n    ${toJson(value, 4)}`;
  }

  /**
   * Adds a failure, which is held until the items have ended.
   * @param input its name or number
   */
  failure(input: string | number, error: DocprocError): void {
    const { input: field } = this.#form;
    if (field === undefined) return;
    const { code, message, hint } = error.toJSON();
    this.#failures.add(`${this.#failed === 0 ? "" : ","}\n    ${toJson({ [field]: input, code, message, hint }, 4)}`);
    this.#failed += 1;
  }

  /**
   * The text that ends the document.
   * @param fields after the items and failures
   */
  *end(fields: object): IterableIterator<string> {
    yield this.#items === 0 ? `${this.#head()}]` : "\n  ]";
    if (this.#form.input !== undefined) {
      yield ',\n  "failures": [';
      yield* this.#failures.pieces();
      yield this.#failed === 0 ? "]" : "\n  ]";
    }
    for (const [name, value] of Object.entries(fields)) yield `,\n  ${toJson(name)}: ${toJson(value, 2)}`;
    yield "\n}\n";
  }

  #head(): string {
    return `{\n  "schema": ${toJson(this.#form.schema)},\n  ${toJson(this.#form.items)}: [`;
  }
}

/** Characters that are held as one piece. */
const pieceLength = 64 * 1024;

/** Text of any length that has to wait, as bytes: they take less room than strings, and none of the heap. */
class HeldText {
  readonly #pieces: Buffer[] = [];
  #last = "";

  add(text: string): void {
    this.#last += text;
    if (this.#last.length < pieceLength) return;
    this.#pieces.push(Buffer.from(this.#last));
    this.#last = "";
  }

  *pieces(): Iterable<string> {
    for (const piece of this.#pieces) yield piece.toString();
    yield this.#last;
  }
}

/**
 * A value as JSON for people too, or on one line.
 * @param column where its first line begins; undefined for one line
 */
export function toJson(value: unknown, column?: number): string {
  const json = column === undefined ? JSON.stringify(value) : JSON.stringify(value, null, 2);
  const indented = column ? json.replaceAll("\n", `\n${" ".repeat(column)}`) : json;
  // A number sign occurs only in strings, where it may be escaped.
  return withoutCommands(indented, "\\u0023");
}
