/** The house rules, checked by a machine: who may import whom, and who owns which package. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

/**
 * A file may import only files of strictly lower rank: no circles, no siblings. A new file needs a rank, which
 * is the moment to ask what it is for.
 */
const ranks: Record<string, number> = {
  "src/core/address.ts": -2,
  "src/secrets.ts": -1,
  "src/errors.ts": 0,
  "src/settings.ts": 0,
  "src/schemas/index.ts": 0,
  "src/schemas/items.ts": 1,
  "src/output/template.ts": 1,
  "src/exit-codes.ts": 1,
  "src/help-topics.ts": 2,
  "src/steps.ts": 0,
  "src/crc32.ts": 0,
  "src/digest.ts": 0,
  "src/tuning.ts": 0,
  "src/memory-budget.ts": 0,
  "src/leftover.ts": 0,
  "src/output/runner-commands.ts": -1,
  "src/output/display.ts": 0,
  "src/shells.ts": 0,
  "src/content-type.ts": 0,
  "src/setting-values.ts": 0,
  "src/suggestion.ts": 0,
  "src/detected-type.ts": 1,
  "src/document.ts": 1,
  "src/aws.ts": 1,
  "src/retry.ts": 1,
  "src/presence.ts": 1,
  "src/ownership.ts": 2,
  "src/files/removal.ts": 0.5,
  "src/core/loopback.ts": -1,
  "src/setting-names.ts": -1,
  "src/config/trust.ts": 4,
  "src/config/consent.ts": 5,
  "src/config/project-file.ts": 11,
  "src/commands/trust.ts": 13,
  "src/atomic-file.ts": 1,
  "src/files/no-links.ts": 2,
  "src/sqlite.ts": 2,
  "src/aws/answer-deadlines.ts": 0,
  "src/aws-client.ts": 1,
  "src/output/reporter.ts": 1,
  "src/batch.ts": 1,
  "src/config-files.ts": 3,
  "src/document/frozen.ts": 2,
  "src/stored-record.ts": 3,
  "src/document/glob.ts": 1,
  "src/files/regular-file.ts": 0.5,
  "src/identity.ts": 2,
  "src/policy.ts": 1,
  "src/not-empty.ts": 1,
  "src/query.ts": 2,
  "src/files/bounds.ts": 1,
  "src/source.ts": 2,
  "src/output/json.ts": 2,
  "src/output/human.ts": 2,
  "src/output/painter.ts": 2,
  "src/output/progress.ts": 2,
  "src/output/drawn-progress.ts": 3,
  "src/output/open-reporter.ts": 4,
  "src/library.ts": 2,
  "src/inputs.ts": 3,
  "src/given.ts": 3,
  "src/storage/service.ts": 2,
  "src/library-directory.ts": 3,
  "src/storage/pieces.ts": 3,
  "src/storage/local-removal.ts": 4,
  "src/storage/local.ts": 5,
  "src/storage/s3-client.ts": 2,
  "src/storage/s3-parts.ts": 3,
  "src/storage/s3-earlier-put.ts": 4,
  "src/storage/s3-presign.ts": 4,
  "src/storage/s3-windows.ts": 4,
  "src/storage/s3-multipart.ts": 5,
  "src/storage/s3-put.ts": 6,
  "src/storage/s3-objects.ts": 7,
  "src/storage/s3-endpoint.ts": 4,
  "src/storage/s3-bucket.ts": 5,
  "src/storage/s3-removal.ts": 6,
  "src/storage/s3.ts": 8,
  "src/storage/registry.ts": 9,
  "src/metadata/service.ts": 3,
  "src/metadata/doubt.ts": 4,
  "src/library/mark.ts": 4,
  "src/library/proof.ts": 4,
  "src/metadata/groups.ts": 2,
  "src/metadata/local-conditions.ts": 4,
  "src/metadata/local/glob-function.ts": 5,
  "src/metadata/local-listing.ts": 5,
  "src/metadata/local-sorting.ts": 6,
  "src/metadata/local-removal.ts": 4,
  "src/metadata/local.ts": 7,
  "src/metadata/dynamodb-client.ts": 2,
  "src/metadata/dynamodb-failures.ts": 2,
  "src/metadata/dynamodb-reads.ts": 3,
  "src/metadata/dynamodb-transactions.ts": 3,
  "src/metadata/dynamodb-listing.ts": 4,
  "src/metadata/dynamodb-commits.ts": 5,
  "src/metadata/dynamodb-records.ts": 6,
  "src/metadata/dynamodb-table.ts": 4,
  "src/metadata/dynamodb-removal.ts": 5,
  "src/metadata/dynamodb.ts": 7,
  "src/metadata/registry.ts": 9,
  "src/body.ts": 4,
  "src/journal.ts": 3,
  "src/reader.ts": 3,
  "src/find.ts": 4,
  "src/retag.ts": 5,
  "src/stats.ts": 3,
  "src/resumption.ts": 4,
  "src/commit.ts": 5,
  "src/upload.ts": 6,
  "src/upload-report.ts": 7,
  "src/ci.ts": 2,
  "src/files/programs.ts": 2,
  "src/provenance/git-config.ts": 0,
  "src/provenance/git-lfs.ts": 0,
  "src/provenance/git-files.ts": 2,
  "src/provenance/git-directory.ts": 3,
  "src/provenance/git-settings.ts": 4,
  "src/provenance/git-reftable.ts": 5,
  "src/provenance/git-comparison.ts": 5,
  "src/provenance/git.ts": 6,
  "src/provenance.ts": 7,
  "src/default-tags.ts": 2,
  "src/documents.ts": 7,
  "src/input-upload.ts": 8,
  "src/output/github.ts": 2,
  "src/file-name.ts": 1,
  "src/download.ts": 2,
  "src/desktop.ts": 3,
  "src/reconcile.ts": 5,
  "src/verify.ts": 8,
  "src/doctor.ts": 9,
  "src/destroy.ts": 4,
  "src/profiles.ts": 4,
  "src/copy.ts": 8,
  "src/records-file.ts": 4,
  "src/import.ts": 9,
  "src/library/import-report.ts": 10,
  "src/register.ts": 8,
  "src/copy-report.ts": 9,
  "src/config.ts": 10,
  "src/services.ts": 10,
  "src/open-library.ts": 11,
  "src/context.ts": 11,
  "src/confirm.ts": 12,
  "src/stdout.ts": 12,
  "src/commands/command.ts": 12,
  "src/commands/filter.ts": 13,
  "src/commands/tag.ts": 13,
  "src/commands/stats.ts": 14,
  "src/commands/url.ts": 13,
  "src/commands/open.ts": 13,
  "src/commands/policy.ts": 13,
  "src/commands/init.ts": 13,
  "src/commands/upload.ts": 13,
  "src/commands/list.ts": 14,
  "src/commands/show.ts": 13,
  "src/commands/config.ts": 13,
  "src/commands/completion.ts": 13,
  "src/commands/download.ts": 13,
  "src/commands/cat.ts": 13,
  "src/commands/verify.ts": 13,
  "src/commands/copy.ts": 14,
  "src/commands/export.ts": 14,
  "src/commands/import.ts": 13,
  "src/commands/register.ts": 13,
  "src/commands/delete.ts": 13,
  "src/commands/doctor.ts": 13,
  "src/commands/destroy.ts": 13,
  "src/commands/registry.ts": 15,
  "src/completion.ts": 16,
  "src/program.ts": 17,
  "src/manual.ts": 18,
  "bin/library.ts": 12,
  "bin/docproc.ts": 18,
};

/** A package and the files that may import it when they run; anybody may import its types. */
const owners: readonly (readonly [packages: RegExp, files: RegExp])[] = [
  [/^commander$/, /^src\/program\.ts$/],
  [/^(chalk|ora|cli-truncate|string-width)$/, /^src\/output\//],
  [/^cosmiconfig/, /^src\/config-files\.ts$/],
  [/^@aws-sdk\/(client-s3|client-sts|lib-storage|s3-request-presigner)$/, /^src\/storage\/s3-\w+\.ts$/],
  [/^@aws-sdk\/client-dynamodb$/, /^src\/metadata\/dynamodb-\w+\.ts$/],
  [/^@photostructure\/sqlite$/, /^src\/sqlite\.ts$/],
  [/^@smithy\//, /^src\/(aws-client|storage\/s3-client)\.ts$/],
  [/^env-paths$/, /^bin\//],
  // Which programs are started, one file decides.
  [/^(node:)?(child_process|cluster)$/, /^src\/files\/programs\.ts$/],
  [/^@optique\/core/, /^src\/shells\.ts$/],
];

/** Files that bring an SDK with them: imported only by `import()`, so that only who needs one waits for it. */
const lateFiles = /^src\/(aws-client|storage\/s3-[\w-]+|metadata\/dynamodb-\w+)\.ts$/;

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

describe("the house", () => {
  test("has a rank for every file, and no rank for a file that is gone", () => {
    expect(files.toSorted()).toEqual(Object.keys(ranks).toSorted());
  });

  test("lets a file import only files of a lower rank", () => {
    const ours = imports.filter(({ target }) => target in ranks);
    expect(ours.length).toBeGreaterThan(100);
    const upward = ours.filter(({ from, target }) => (ranks[target] ?? 0) >= (ranks[from] ?? 0));
    expect(upward.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test("knows every relative import", () => {
    const isData = (target: string) => /^src\/.+\.json$/.test(target);
    const unknown = imports.filter(
      ({ target }) => /^(src|bin|\.)/.test(target) && !(target in ranks || isData(target)),
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
    expect(imports.filter(({ target, kind }) => lateFiles.test(target) && kind === "dynamic").length).toBe(17);
  });

  test("keeps the services apart", () => {
    const across = imports.filter(
      ({ from, target }) =>
        (from.startsWith("src/storage/") && target.startsWith("src/metadata/")) ||
        (from.startsWith("src/metadata/") && target.startsWith("src/storage/")),
    );
    expect(across).toEqual([]);
  });

  test("touches the process only in bin, and the console nowhere", () => {
    const code = (file: string) => readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    expect(
      files.filter((file) => /\bprocess\s*[.[]|node:process/.test(code(file)) && !file.startsWith("bin/")),
    ).toEqual([]);
    expect(files.filter((file) => /\bconsole\s*[.[]|node:console/.test(code(file)))).toEqual([]);
  });

  test("keeps files under 400 lines and commands under 150", () => {
    const long = files.filter((file) => {
      const lines = readFileSync(file, "utf8").split("\n").length - 1;
      return lines > (file.startsWith("src/commands/") ? 150 : 400);
    });
    expect(long).toEqual([]);
  });

  test("has no file named after nothing in particular", () => {
    expect(files.filter((file) => /(util|helper|common|misc|types)s?\b/.test(file))).toEqual([]);
  });
});
