/** Retry delays, and the time limit for cleaning up after a failure. */
import { setTimeout as sleep } from "node:timers/promises";
import { throwIfCancelled } from "./errors.ts";

/** Milliseconds; doubles with every attempt. */
const initialPause = 100;
const maxPause = 20_000;

/**
 * Sleeps before the next attempt: a random time up to a doubling bound ("full jitter"), so that clients that failed
 * together do not retry together. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 * @param attempt that just failed, counted from 1
 * @throws CANCELLED when the signal fires
 */
export async function pause(attempt: number, signal: AbortSignal): Promise<void> {
  const bound = Math.min(maxPause, initialPause * 2 ** (attempt - 1));
  await sleep(Math.random() * bound, undefined, { signal }).catch(() => {});
  throwIfCancelled(signal);
}

/** Milliseconds that a request whose outcome matters may still take after an interruption. */
const answerDeadline = 5_000;

/**
 * Fires a while after the caller's signal, for a request that should not be dropped midway. Call `forget` after the
 * response.
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

/** Milliseconds for cleaning up after a failure; less after an interruption, because a person waits. */
const cleanUpDeadline = 5_000;
const interruptedDeadline = 2_000;

/** A short deadline for cleaning up; the caller's signal may have fired already. */
export function cleanUpSignal(caller?: AbortSignal): AbortSignal {
  return AbortSignal.timeout(caller?.aborted ? interruptedDeadline : cleanUpDeadline);
}
