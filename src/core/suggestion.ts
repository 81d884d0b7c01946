/** The closest match for a misspelt word. */
import { closest, distance } from "fastest-levenshtein";

/**
 * The known word most similar to `word`; undefined when none is close.
 * @param share of the word's letters that may differ, if these are more than two
 */
export function nearestTo(word: string, known: readonly string[], share = 1 / 3): string | undefined {
  if (known.length === 0) return undefined;
  const nearest = closest(word, known);
  return distance(word, nearest) <= Math.max(2, nearest.length * share) ? nearest : undefined;
}
