/** What stands around the code: each must agree with package.json, which npm and its users go by. */
import { readdirSync, readFileSync } from "node:fs";
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
    const { os, node } = workflow.jobs.test.strategy.matrix;
    expect(node[0]).toBe(oldest);
    expect(node.slice(1)).toEqual([22, 24, 26]);
    expect(os).toEqual(["ubuntu-latest", "macos-latest", "windows-latest"]);
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
    const pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/ci.md", "docs/troubleshooting.md"];
    for (const page of [...pages, ".github/ISSUE_TEMPLATE/config.yml"]) {
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

  test("names one version", () => {
    const named = [...read("docs/ci.md").matchAll(/(?:docproc-cli@|\/upload@v)([\w.-]+)/g)].map(
      ([, version]) => version,
    );
    expect(new Set(named)).toEqual(new Set([manifest.version]));
    expect(read("CHANGELOG.md")).toMatch(new RegExp(`^## \\[(Unreleased|${manifest.version})\\]`, "m"));
  });
});
