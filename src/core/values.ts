/** Validators that many settings share. Errors are thrown as half a sentence. */

export type Value = string | number | boolean;
export type Parser<V extends Value = Value> = (value: unknown) => V;

/** Names for a sentence: `local, s3 or memory`. */
export function alternatives(names: readonly string[]): string {
  return names.join(", ").replace(/, ([^,]*)$/, " or $1");
}

export function oneOf(names: readonly string[]): Parser<string> {
  return (value) => {
    if (typeof value === "string" && names.includes(value)) return value;
    throw new Error(`it must be ${alternatives(names)}`);
  };
}

export function text(value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new Error("it must be text");
}

export function yesOrNo(value: unknown): boolean {
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  throw new Error("it must be true or false");
}

export function wholeNumber(least: number, most: number): Parser<number> {
  return (value) => {
    const isGiven = typeof value === "number" || (typeof value === "string" && value !== "");
    const number = isGiven ? Number(value) : Number.NaN;
    if (Number.isInteger(number) && number >= least && number <= most) return number;
    throw new Error(`it must be a whole number from ${least} to ${most}`);
  };
}

/** A list becomes comma-separated text. Nested lists are refused: YAML allows endless ones. */
export function joined(value: unknown): unknown {
  return Array.isArray(value) && value.every((one) => typeof one === "string") ? value.join() : value;
}
