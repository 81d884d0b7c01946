/** `-o`: a file, a directory, or a template such as `art/{tags.os}/{name}` that makes a path of a document's fields. */
import { sep } from "node:path";
import type { DocumentRecord } from "../../../document/record.ts";
import { itemFields } from "../../../schemas/items.ts";
import type { DestinationOptions } from "../../../transfer/destination.ts";
import { fieldText, type TemplatePiece, templatePieces } from "../../output/template.ts";

export interface Output extends Pick<DestinationOptions, "output"> {
  /** The path below `output` that a template makes; it may be invalid. */
  readonly pathOf?: (record: DocumentRecord) => string;
}

/**
 * Only the text before the first field can lead anywhere: its folders are the directory that nothing leaves.
 * @throws USAGE for an invalid template or an unknown field
 */
export function parseOutput(text: string | undefined): Output {
  if (text === undefined || !/[{}]/.test(text)) return { output: text };
  const pieces = templatePieces(text, itemFields("show") ?? [], { flag: "-o", backslashes: false });
  const first = pieces.findIndex((piece) => !("own" in piece));
  const before = textOf(first < 0 ? pieces : pieces.slice(0, first));
  if (first < 0) return { output: before };
  const end = Math.max(before.lastIndexOf("/"), before.lastIndexOf(sep)) + 1;
  const rest: TemplatePiece[] = [{ text: before.slice(end), own: true }, ...pieces.slice(first)];
  return { output: before.slice(0, end) || undefined, pathOf: (record) => textOf(rest, record) };
}

function textOf(pieces: readonly TemplatePiece[], record: object = {}): string {
  return pieces.map((piece) => ("own" in piece ? piece.text : fieldText(record, piece[0]))).join("");
}
