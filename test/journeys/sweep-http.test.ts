/** Every request of every command fails in turn, in every way a network has: nothing is lost and nothing invented. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type Fault, type FaultProxy, type ProxiedRequest, startFaultProxy } from "../support/fault-proxy.ts";
import { soak } from "../support/nth-call.ts";
import { type Faults, sweep, timeout } from "../support/sweep.ts";
import {
  awsLibrary,
  copyingLarge,
  copyingOne,
  deleting,
  downloadingLarge,
  downloadingOne,
  importing,
  initialised,
  initialising,
  listing,
  listingOneName,
  repeatingLarge,
  repeatingOne,
  restoringMissing,
  restoringWrong,
  tagging,
  uploadingAtOnce,
  uploadingLarge,
  uploadingOne,
  uploadingSeveral,
} from "../support/sweep-scenarios.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** A way to fail, the requests that can, which of the later ones fail too, and flags for the command. */
type HttpFault = [
  what: string,
  action: Fault,
  canFail: (request: ProxiedRequest) => boolean,
  also: "none" | "alike" | "all",
  flags: readonly string[],
];
const every = () => true;
const hasBody = ({ headers }: ProxiedRequest) => Number(headers["content-length"] ?? 0) > 1;
const isAnswered = ({ method }: ProxiedRequest) => method === "GET" || method === "POST";
const onceOnly = ["--retries", "0"];
const error: Fault = { kind: "status", status: 500 };
const lost: Fault = { kind: "lose-reply" };
const faults: HttpFault[] = [
  ["is answered with an error", error, every, "none", onceOnly],
  ["and all like it are answered with an error, retries included", error, every, "alike", []],
  ["is done and not answered", lost, every, "none", []],
  ["is the last that is done, and none is answered any more", lost, every, "all", onceOnly],
  ["breaks off", { kind: "break-body", bytes: 1000 }, hasBody, "none", onceOnly],
  ["is answered in part", { kind: "truncate", bytes: 10 }, isAnswered, "none", onceOnly],
];
const more: HttpFault[] = [
  ["is done and not answered, without a retry", lost, every, "none", onceOnly],
  ["is never answered in full", { kind: "truncate", bytes: 0 }, isAnswered, "alike", []],
  ["always breaks off", { kind: "break-body", bytes: 1 }, hasBody, "alike", []],
];
const scenarios = [
  ...[uploadingOne, uploadingLarge, uploadingSeveral, uploadingAtOnce, downloadingOne, downloadingLarge],
  ...[restoringMissing, restoringWrong, repeatingOne, repeatingLarge],
  ...[copyingOne, copyingLarge, importing, deleting, tagging, listing, listingOneName, initialising],
].map((scenario) => [scenario.name, scenario] as const);

/** Lets the n-th request that can fail do so, and those after it that fail with it. */
function nthRequest(proxy: FaultProxy, [, action, canFail, also]: HttpFault): Faults {
  let failed: ProxiedRequest[] = [];
  return {
    statuses: () => [0, 7, 8],
    arm(n) {
      let left = n;
      failed = [];
      const isDue = (request: ProxiedRequest) => {
        if (!canFail(request)) return false;
        left -= 1;
        const [first] = failed;
        const follows = first && (also === "all" || (also === "alike" && first.operation === request.operation));
        if (left !== 0 && !follows) return false;
        failed.push(request);
        return true;
      };
      proxy.inject({ operation: isDue, action });
    },
    disarm() {
      proxy.clear();
      return failed.map(({ operation }) => operation);
    },
  };
}

describe.each(soak ? [...faults, ...more] : faults)("when a request %s", { timeout }, (...fault) => {
  test.each(scenarios)("%s loses and invents nothing", async (_name, scenario) => {
    // Pauses between attempts are random up to a bound: here they are none.
    const random = vi.spyOn(Math, "random").mockReturnValue(0);
    onTestFinished(() => random.mockRestore());
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    const [what, , , , flags] = fault;
    const open = async () => {
      const library = await awsLibrary(aws, proxy.endpoint, flags);
      return scenario === initialising ? library : await initialised(library);
    };
    // The first upload to a table also makes its catalog.
    const anew = soak || scenario === initialising || scenario === uploadingOne;
    const title = `${scenario.name}, a request ${what}`;
    expect(await sweep({ title, scenario, faults: nthRequest(proxy, fault), open, anew })).toEqual([]);
  });
});
