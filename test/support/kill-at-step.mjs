/**
 * Preloaded with `node --import`: ends the process as kill -9 does, at the moment when it has reached a step of
 * src/core/crash-points.ts for the n-th time. Plain JavaScript, since the oldest Node that runs docproc takes nothing else.
 */
import { subscribe } from "node:diagnostics_channel";

const { KILL_AT_STEP, KILL_AT_NTH } = process.env;
let left = Number(KILL_AT_NTH);

subscribe("docproc:step", (step) => {
  if (step !== KILL_AT_STEP) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
});
