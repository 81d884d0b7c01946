/** What stands around the code: each must agree with package.json, which npm and its users go by. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { describe, expect, test } from "vitest";
import { toDocprocError } from "../../src/core/errors.ts";

const manifest = JSON.parse(readFileSync("package.json", "utf8"));
// biome-ignore lint/suspicious/noExplicitAny: files of GitHub, each with a shape of its own.
const yaml = (path: string): any => load(readFileSync(path, "utf8"));
const read = (path: string) => readFileSync(path, "utf8");

describe("the workflow", () => {
  const workflow = yaml(".github/workflows/ci.yml");
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  const jobs = Object.values<any>(workflow.jobs);
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  const steps = jobs.flatMap((job) => job.steps as any[]);

  test("tests the oldest Node that package.json allows, and later ones", () => {
    const [, oldest] = /^>=(\d+\.\d+)$/.exec(manifest.engines.node) ?? [];
    const { os, node, exclude } = workflow.jobs.test.strategy.matrix;
    expect(node[0]).toBe(oldest);
    expect(node.slice(1)).toEqual([22, 24, 26]);
    expect(os).toEqual(["ubuntu-latest", "macos-latest", "windows-latest"]);
    const [checkout, setup] = workflow.jobs.complete.steps;
    expect([checkout, setup]).toEqual(workflow.jobs.lint.steps.slice(0, 2));
    expect(exclude).toEqual([{ os: workflow.jobs.complete["runs-on"], node: setup.with["node-version"] }]);
  });

  test("runs on Linux what has to hold, with the programs that tests use only where they are", () => {
    const runs = workflow.jobs.complete.steps.map(({ run = "" }) => run);
    expect(runs.at(-1)).toMatch(/^sudo .* \.ci\/run$/);
    for (const name of ["zsh", "fish", "moto[server]"]) expect(runs.slice(0, -1).join("\n")).toContain(name);
    // Windows has no such modes.
    if (process.platform !== "win32") expect(statSync(".ci/run").mode & 0o111).toBe(0o111);
  });

  test("runs no test twice on a system", () => {
    const how = workflow.jobs.test.steps.filter(({ run = "" }) => /^npm (test|run test)/.test(run));
    expect(how).toEqual([
      { if: "runner.os != 'Windows'", run: "npm test" },
      { if: "runner.os == 'Windows'", run: "npm run test:unit" },
    ]);
  });

  test("runs scripts that there are", () => {
    const scripts = steps.flatMap(({ run = "" }) => [...run.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name));
    expect(scripts).toEqual(expect.arrayContaining(["lint", "typecheck"]));
    expect(scripts.filter((name) => manifest.scripts[name ?? ""] === undefined)).toEqual([]);
  });

  test("may only read, and uses actions by their commits", () => {
    expect(workflow.permissions).toEqual({ contents: "read" });
    expect(jobs.filter(({ permissions }) => permissions !== undefined)).toEqual([]);
    const used = steps.flatMap(({ uses }) => uses ?? []);
    expect(used.length).toBeGreaterThan(0);
    expect(used.filter((name) => !/@[0-9a-f]{40}$/.test(name))).toEqual([]);
    const checkouts = steps.filter(({ uses = "" }) => uses.startsWith("actions/checkout@"));
    expect(checkouts.map((step) => step.with)).toEqual(checkouts.map(() => ({ "persist-credentials": false })));
  });
});

describe("the repository", () => {
  test("is the same one everywhere", () => {
    const home = manifest.homepage.replace(/#.*/, "");
    expect(manifest.repository.url).toBe(`git+${home}.git`);
    expect(manifest.bugs.url).toBe(`${home}/issues`);
    const pages = [
      "README.md",
      "CHANGELOG.md",
      "CONTRIBUTING.md",
      "SECURITY.md",
      "docs/ci.md",
      "docs/troubleshooting.md",
    ];
    const forms = readdirSync(".github/ISSUE_TEMPLATE").map((name) => `.github/ISSUE_TEMPLATE/${name}`);
    for (const page of [...pages, ...forms]) {
      const named = [...read(page).matchAll(/(?:https:\/\/github\.com\/|uses: )([\w-]+\/docproc)\b/g)];
      const others = named.filter(([, name]) => `https://github.com/${name}` !== home).map(([whole]) => whole);
      expect({ page, others }).toEqual({ page, others: [] });
    }
  });

  test("is where a bug's hint leads", () => {
    expect(toDocprocError(new TypeError("planted")).hint).toContain(manifest.bugs.url);
  });

  test("asks in the issue form for what a bug's hint says", () => {
    const form = yaml(".github/ISSUE_TEMPLATE/bug.yml");
    const asked = JSON.stringify(form.body);
    for (const output of ["docproc --version", "node --version", "`-v`"]) expect(asked).toContain(output);
    expect(readdirSync(".github/ISSUE_TEMPLATE").sort()).toEqual(["bug.yml", "config.yml", "feature.yml"]);
    for (const name of ["bug.yml", "feature.yml"]) {
      const { name: title, description, body } = yaml(join(".github/ISSUE_TEMPLATE", name));
      expect([typeof title, typeof description, Array.isArray(body)]).toEqual(["string", "string", true]);
    }
  });

  test("takes a vulnerability in private, by one address", () => {
    const home = manifest.homepage.replace(/#.*/, "");
    for (const page of ["SECURITY.md", ".github/ISSUE_TEMPLATE/config.yml"]) {
      expect(read(page)).toContain(`${home}/security/advisories/new`);
    }
    expect(read(".github/ISSUE_TEMPLATE/bug.yml")).toContain(`${home}/blob/main/SECURITY.md`);
  });

  test("warns in the issue form of what an output names", () => {
    const { body } = yaml(".github/ISSUE_TEMPLATE/bug.yml");
    const warned = body.filter(({ id }: { id?: string }) => id === "verbose" || id === "config");
    expect(warned).toHaveLength(2);
    for (const { attributes } of warned) expect(attributes.description).toMatch(/buckets.* replace those/);
  });

  test("names one version", () => {
    const named = [...read("docs/ci.md").matchAll(/(?:docproc-cli@|\/upload@v)([\w.-]+)/g)].map(
      ([, version]) => version,
    );
    expect(new Set(named)).toEqual(new Set([manifest.version]));
    expect(yaml(".github/actions/upload/action.yml").inputs.version.default).toBe(manifest.version);
    expect(read("CHANGELOG.md")).toMatch(new RegExp(`^## \\[(Unreleased|${manifest.version})\\]`, "m"));
  });
});
