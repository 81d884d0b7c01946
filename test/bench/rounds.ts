/** Runs the contenders of a case in turn. */
import type { Case } from "./cases.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Figures, measure } from "./measure.ts";

export interface Run extends Figures {
  /** Requests a document; null where nobody counts them. */
  readonly requests: number | null;
}

/** The runs of each contender, by its name; those with the same index were made one after the other. */
export type Runs = Readonly<Record<string, readonly Run[]>>;

/** One round to warm up, which is not counted, then so many that are. */
export async function runCase(
  { name, contenders, latency = 0 }: Case,
  endpoint: Endpoint,
  rounds: number,
  say: (line: string) => void,
): Promise<Runs> {
  const runs: Record<string, Run[]> = Object.fromEntries(contenders.map((contender) => [contender.name, []]));
  for (let round = 0; round <= rounds; round++) {
    say(`${name}: ${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}`);
    for (const { name, documents, command } of contenders) {
      await endpoint.reset(0);
      const prepared = await command();
      if (latency > 0) await endpoint.reset(latency);
      const figures = await measure(prepared);
      const requests = documents === undefined ? null : (await endpoint.requests()) / documents;
      if (round > 0) runs[name]?.push({ ...figures, requests });
    }
  }
  return runs;
}
