/** Retry delays, and the time limit for cleaning up after a failure. */
import { setTimeout as sleep } from "node:timers/promises";
import { throwIfCancelled } from "./errors.ts";

/** Milliseconds; doubles with every attempt. */
const firstPause = 100;
const longestPause = 20_000;

/**
 * Waits before the next attempt: a random time up to a bound that doubles ("full jitter"), so that many who failed
 * together do not come back together. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 * @param attempt that just failed, counted from 1
 * @throws CANCELLED when the signal fires
 */
export async function pause(attempt: number, signal: AbortSignal): Promise<void> {
  const bound = Math.min(longestPause, firstPause * 2 ** (attempt - 1));
  await sleep(Math.random() * bound, undefined, { signal }).catch(() => {});
  throwIfCancelled(signal);
}

/** Milliseconds for the answer to a request whose outcome counts, once somebody has interrupted it. */
const answerDeadline = 5_000;

/**
 * A signal that fires a while after the caller's, for a request that is not to be dropped on the way.
 * `forget` when the answer is there.
 */
export function lateSignal(caller: AbortSignal): { readonly signal: AbortSignal; forget(): void } {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    timer = setTimeout(() => late.abort(), answerDeadline);
  };
  if (caller.aborted) begin();
  else caller.addEventListener("abort", begin, { once: true });
  return {
    signal: late.signal,
    forget() {
      clearTimeout(timer);
      caller.removeEventListener("abort", begin);
    },
  };
}

/** Milliseconds for clearing up after a failure, and after an interruption, when a person waits. */
const cleanUpDeadline = 5_000;
const interruptedDeadline = 2_000;

/** A signal for clearing up: not the caller's, which may have fired, and not for long. */
export function cleanUpSignal(caller?: AbortSignal): AbortSignal {
  return AbortSignal.timeout(caller?.aborted ? interruptedDeadline : cleanUpDeadline);
}
