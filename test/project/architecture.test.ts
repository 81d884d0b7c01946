/** The rules of the house: which folder may import which, and which file may import a package. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

/** From the ground up. A folder imports itself and the folders of lower floors, so a folder cannot use its users. */
const floors: readonly (readonly [folders: string, why: string])[] = [
  ["core schemas", "is of use to a program that knows no documents"],
  ["document files aws", "a record, a disk and an AWS client know nothing of each other"],
  ["provenance storage metadata", "the two contracts, which drivers and callers share"],
  ["storage/registry metadata/registry transfer", "drivers, and the protocol that uses the contracts alone"],
  ["library config", "what can be done with documents, and where settings come from"],
  ["cli api", "two faces of the library, which do not know each other"],
  ["bin", "the process: streams, signals, the environment"],
];

/** What some folders may not import, although it is below them. */
const closed: readonly (readonly [users: RegExp, used: RegExp, why: string])[] = [
  [/^src\/(cli|api)\//, /^src\/(storage|metadata)\//, "a command or a program has a library, and nothing below it"],
  [/^src\/storage\//, /^src\/metadata\//, "any storage works with any catalog"],
  [/^src\/metadata\//, /^src\/storage\//, "any catalog works with any storage"],
];

/** The files above the two contracts that write to a service. All others that want something written ask them. */
const writers: Readonly<Record<string, string>> = {
  "src/transfer/upload.ts": "stores the bytes of a known document again",
  "src/transfer/new-document.ts": "stores or copies bytes, and takes back those that became no document",
  "src/transfer/known.ts": "remembers that the bytes of a document to be restored were read",
  "src/transfer/restore.ts": "takes back the bytes of a document that was deleted meanwhile",
  "src/transfer/commit.ts": "commits the record of bytes that are stored and proved",
  "src/transfer/change.ts": "changes what a record says beside its identity",
  "src/transfer/resumption.ts": "removes what an interrupted upload left",
  "src/library/removal.ts": "removes documents and garbage",
  "src/library/proof.ts": "remembers that the bytes of an imported record were read",
  "src/library/import.ts": "adopts the objects of a catalog that is gone",
};
/** A call of a method that writes, whatever it is called on. */
const writing = /\.(put|remove|commit|prove|adopt|discard|release)\(|metadata\.update\(|storage\.copy\(/;

/** A package and the files that may import it when they run; any file may import its types. */
const owners: readonly (readonly [packages: RegExp, files: RegExp])[] = [
  [/^commander$/, /^src\/cli\/program\.ts$/],
  [/^(chalk|ora|cli-truncate|string-width)$/, /^src\/cli\/output\//],
  [/^cosmiconfig/, /^src\/config\/files\.ts$/],
  [/^@aws-sdk\/(client-s3|client-sts|lib-storage|s3-request-presigner)$/, /^src\/storage\/s3\//],
  [/^@aws-sdk\/client-dynamodb$/, /^src\/metadata\/dynamodb\//],
  [/^@photostructure\/sqlite$/, /^src\/files\/sqlite\.ts$/],
  [/^@smithy\//, /^src\/(aws|storage\/s3)\/client\.ts$/],
  [/^env-paths$/, /^bin\//],
  // Which programs are started, one file decides.
  [/^(node:)?(child_process|cluster)$/, /^src\/files\/programs\.ts$/],
  [/^@optique\/core/, /^src\/cli\/completion\/shells\.ts$/],
];

/** Files that bring an SDK with them: imported only by `import()`, so that only who needs one waits for it. */
const lateFiles =
  /^src\/(aws\/client|storage\/s3\/(?!driver|settings|traits)[\w-]+|metadata\/dynamodb\/(?!driver|settings|traits)[\w-]+)\.ts$/;

interface Import {
  readonly from: string;
  /** A package's name, or a file's path from the root. */
  readonly target: string;
  readonly kind: "static" | "type" | "dynamic";
}

const files = ["src", "bin"].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name).replaceAll("\\", "/")),
);
const imports = files.flatMap(importsOf);

function importsOf(from: string): Import[] {
  const code = readFileSync(from, "utf8");
  const found = [
    ...code.matchAll(/^(?:import|export)\s+(type\s)?(?:[^;"']*?\sfrom\s+)?["']([^"']+)["']/gm),
    ...[...code.matchAll(/(?<!typeof )\bimport\(\s*["']([^"']+)["']/g)].map(
      (match) => [match[0], "dynamic", match[1]] as const,
    ),
  ];
  return found.map(([, how, specifier = ""]) => ({
    from,
    target: specifier.startsWith(".") ? normalize(join(dirname(from), specifier)).replaceAll("\\", "/") : specifier,
    kind: how === "dynamic" ? "dynamic" : how === undefined ? "static" : "type",
  }));
}

/** Without its comments. */
function codeOf(file: string): string {
  return readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
}

/** Of a contract, its folder; of a driver or a registry, the registry that it is reached by. */
function roomOf(file: string): string {
  const [top = "", folder = "", below = "", inside] = file.split("/");
  if (top !== "src") return top;
  const isService = folder === "storage" || folder === "metadata";
  return isService && (inside !== undefined || below === "registry.ts") ? `${folder}/registry` : folder;
}

function floorOf(room: string): number {
  return floors.findIndex(([folders]) => folders.split(" ").includes(room));
}

describe("the house", () => {
  test("lets a folder import only itself and the floors below", () => {
    const ours = imports.filter(({ target }) => files.includes(target));
    expect(ours.length).toBeGreaterThan(100);
    const upward = ours.filter(({ from, target }) => {
      const [user, used] = [roomOf(from), roomOf(target)];
      return user !== used && floorOf(used) >= floorOf(user);
    });
    expect(upward.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test("closes the two services to each other, and to all that has a library", () => {
    const forbidden = imports.filter(({ from, target }) =>
      closed.some(([users, used]) => users.test(from) && used.test(target)),
    );
    expect(forbidden.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test("lets only the named files write to a service", () => {
    const above = files.filter((file) => /^src\/(library|transfer)\//.test(file));
    expect(above.filter((file) => writing.test(codeOf(file))).sort()).toEqual(Object.keys(writers).sort());
  });

  test("has a floor for every folder", () => {
    expect(files.filter((file) => floorOf(roomOf(file)) < 0)).toEqual([]);
  });

  test("is drawn in docs/developing.md, floor by floor", () => {
    const rows = floors.toReversed().map(([folders, why]) => {
      const names = folders.split(" ").map((folder) => `\`${folder}\``);
      return `| ${names.join(", ")} | ${why} |\n`;
    });
    expect(readFileSync("docs/developing.md", "utf8")).toContain(`|---|---|\n${rows.join("")}\n`);
  });

  test("lets nothing but the registry import a driver, and that only its entrance", () => {
    const driver = /^src\/(storage|metadata)\/\w+\//;
    const inside = imports.filter(({ from, target }) => {
      const folder = driver.exec(target)?.[0];
      if (folder === undefined || from.startsWith(folder)) return false;
      return !(target === `${folder}driver.ts` && from === folder.replace(/\w+\/$/, "registry.ts"));
    });
    expect(inside.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test("names no driver outside of its folder and the registries", () => {
    const named = files
      .filter((file) => !/^src\/(storage|metadata)\//.test(file))
      .flatMap((file) => codeOf(file).match(/.*"(s3|dynamodb|local)".*/g) ?? []);
    expect(named).toEqual([]);
  });

  test("has no files that import each other in a circle", () => {
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) circles.push([...trail.slice(trail.indexOf(file)), file].join(" -> "));
      if (done.has(file) || trail.includes(file)) return;
      for (const { from, target } of imports) if (from === file) visit(target, [...trail, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });

  test("knows every relative import", () => {
    const unknown = imports.filter(
      ({ target }) => /^(src|bin|\.)/.test(target) && !files.includes(target) && !/^src\/.+\.json$/.test(target),
    );
    expect(unknown).toEqual([]);
  });

  test("lets only its owner import a package", () => {
    for (const [packages, allowed] of owners) {
      const users = imports.filter(({ target, kind }) => packages.test(target) && kind !== "type");
      expect(users.length, `${packages} is used`).toBeGreaterThan(0);
      expect(
        users.map(({ from }) => from).filter((from) => !allowed.test(from)),
        String(packages),
      ).toEqual([]);
    }
  });

  test("loads what brings an SDK only when it is asked for", () => {
    const early = imports.filter(
      ({ from, target, kind }) => lateFiles.test(target) && kind === "static" && !lateFiles.test(from),
    );
    expect(early).toEqual([]);
    expect(imports.filter(({ target, kind }) => lateFiles.test(target) && kind === "dynamic").length).toBe(20);
  });

  test("touches the process only in bin, and the console nowhere", () => {
    expect(
      files.filter((file) => /\bprocess\s*[.[]|node:process/.test(codeOf(file)) && !file.startsWith("bin/")),
    ).toEqual([]);
    expect(files.filter((file) => /\bconsole\s*[.[]|node:console/.test(codeOf(file)))).toEqual([]);
  });

  test("keeps files under 400 lines and commands under 150", () => {
    const long = files.filter((file) => {
      const lines = readFileSync(file, "utf8").split("\n").length - 1;
      return lines > (/= defineCommand\b/.test(readFileSync(file, "utf8")) ? 150 : 400);
    });
    expect(long).toEqual([]);
  });

  test("has no file named after nothing in particular", () => {
    expect(files.filter((file) => /(util|helper|common|misc|types)s?\b/.test(file))).toEqual([]);
  });
});
