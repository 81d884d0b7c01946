/** `docproc delete` when something fails on the way: bytes may be left for a doctor, a record without bytes never. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type InRepoAws, startInRepoAws } from "../../support/aws.ts";
import { type Fault, type ProxiedRequest, startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary } from "../../support/library.ts";
import { awsState, complaints } from "../../support/oracle.ts";
import { type RunOptions, runDocproc } from "../../support/run.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** A document, and a proxy before it that fails as told. What is left is asked without the proxy. */
async function openBehindProxy() {
  const { sandbox, settings, run, upload } = await openLibrary(aws.endpoint);
  const record = await upload("a.txt", "a");
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  const state = awsState(aws, settings.bucket ?? "");
  return {
    id: record.id,
    proxy,
    state,
    run,
    remove: (options?: RunOptions) =>
      runDocproc(
        sandbox,
        ["delete", record.id, "--yes", "--json", "--endpoint-url", proxy.endpoint, "--retries", "1"],
        options,
      ),
    async left() {
      const { documents } = (await run(["list", "--json"])).json();
      expect(await complaints(state, documents, { garbage: false })).toEqual([]);
      return { documents: documents.length, objects: (await state.objects()).size };
    },
  };
}
const untouched = { documents: 1, objects: 1 };
const allGone = { documents: 0, objects: 0 };

test.each<[string, Fault, number]>([
  ["is down", { kind: "status", status: 503, code: "SlowDown" }, 8],
  ["never answers", { kind: "black-hole" }, 8],
  ["refuses it", { kind: "status", status: 403, code: "AccessDenied" }, 4],
])(
  "a deletion says that the bytes are left when the storage %s, and a doctor removes them",
  async (_what, action, status) => {
    const { id, proxy, state, run, remove, left } = await openBehindProxy();
    proxy.inject({ operation: "DeleteObject", action });
    const outcome = await remove();
    expect(outcome).toMatchObject({ status });
    expect(outcome.json()).toMatchObject({
      documents: [],
      failures: [{ ref: id, message: expect.stringContaining("is deleted, but its bytes are not") }],
    });
    expect(outcome.stderr).toContain("docproc doctor --repair");
    expect(await left()).toEqual({ documents: 0, objects: 1 });
    proxy.clear();
    expect(await remove()).toMatchObject({ status: 3 });
    // Not before they are a day old.
    expect((await run(["doctor", "--repair", "--json"])).json().summary).toMatchObject({ found: 0, young: 1 });
    await state.age();
    expect(await run(["doctor", "--repair"])).toMatchObject({ status: 0 });
    expect(await left()).toEqual(allGone);
  },
);

test.each<[string, Fault, number]>([
  ["is down", { kind: "status", status: 500 }, 8],
  ["refuses it", { kind: "status", status: 400, code: "AccessDeniedException" }, 4],
  ["cannot be reached", { kind: "reset" }, 8],
])("a deletion removes nothing when the catalog %s, and succeeds when run again", async (_what, action, status) => {
  const { proxy, remove, left } = await openBehindProxy();
  proxy.inject({ operation: "TransactWriteItems", action });
  expect(await remove()).toMatchObject({ status });
  expect(await left()).toEqual(untouched);
  proxy.clear();
  expect(await remove()).toMatchObject({ status: 0 });
  expect(await left()).toEqual(allGone);
});

test.each<[string, Fault, number]>([
  ["is down", { kind: "status", status: 503, code: "SlowDown" }, 8],
  ["refuses it", { kind: "status", status: 403, code: "AccessDenied" }, 4],
])(
  "a deletion removes nothing when the storage %s and cannot tell whose the bytes are",
  async (_what, action, status) => {
    const { proxy, remove, left } = await openBehindProxy();
    proxy.inject({ operation: "HeadObject", action });
    expect(await remove()).toMatchObject({ status });
    expect(await left()).toEqual(untouched);
    proxy.clear();
    expect(await remove()).toMatchObject({ status: 0 });
    expect(await left()).toEqual(allGone);
  },
);

test.each([
  ["once", 1],
  ["every time", 99],
])("a deletion succeeds when the response of the catalog is lost %s", async (_what, times) => {
  const { proxy, remove, left } = await openBehindProxy();
  proxy.inject({ operation: "TransactWriteItems", times, action: { kind: "lose-reply" } });
  expect(await remove()).toMatchObject({ status: 0 });
  expect(await left()).toEqual(allGone);
});

test("a deletion keeps the bytes while it is unknown whether the record was deleted", async () => {
  const { proxy, state, run, remove, left } = await openBehindProxy();
  proxy.inject({ operation: "TransactWriteItems", action: { kind: "lose-reply" } });
  let asked = false;
  const afterwards = ({ operation }: ProxiedRequest) => {
    asked ||= operation === "TransactWriteItems";
    return asked && operation === "GetItem";
  };
  proxy.inject({ operation: afterwards, action: { kind: "status", status: 500 } });
  expect(await remove()).toMatchObject({ status: 8, stderr: expect.stringContaining('"retryable":true') });
  expect(await left()).toEqual({ documents: 0, objects: 1 });
  await state.age();
  expect(await run(["doctor", "--repair"])).toMatchObject({ status: 0 });
  expect(await left()).toEqual(allGone);
});

test("a deletion finds the document gone when another one was faster", async () => {
  const { id, proxy, run, remove, left } = await openBehindProxy();
  let faster: ReturnType<typeof run> | undefined;
  const meanwhile = ({ operation }: ProxiedRequest) => {
    if (operation === "TransactWriteItems") faster ??= run(["delete", id, "--yes"]);
    return operation === "TransactWriteItems";
  };
  proxy.inject({ operation: meanwhile, action: { kind: "delay", ms: 1_500 } });
  expect(await remove()).toMatchObject({ status: 3 });
  expect(await faster).toMatchObject({ status: 0 });
  expect(await left()).toEqual(allGone);
});

test("a deletion is finished when it is interrupted after the record is deleted, and not begun when before", async () => {
  const { remove, left } = await openBehindProxy();
  expect(await remove({ signal: AbortSignal.abort() })).toMatchObject({ status: 130 });
  expect(await left()).toEqual(untouched);
  const abort = new AbortController();
  const listener = (step: unknown) => void (step === "record-removed" && abort.abort());
  subscribe("docproc:step", listener);
  onTestFinished(() => void unsubscribe("docproc:step", listener));
  expect(await remove({ signal: abort.signal })).toMatchObject({ status: 0 });
  expect(await left()).toEqual(allGone);
});
