/** A table that an older docproc wrote: every command refuses it, and what the refusal says leads out of it. */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AttributeValue, DynamoDBClient, PutItemCommand, paginateScan } from "@aws-sdk/client-dynamodb";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DocumentRecord } from "../../../src/document/record.ts";
import { awsEndpoints } from "../../support/aws.ts";
import { openLibrary, usePlace } from "../../support/library.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";

type Item = Record<string, AttributeValue>;

describe.each(Object.entries(awsEndpoints()))("a table of an older docproc on %s", (_place, start) => {
  const endpoint = usePlace(start);

  /** A bucket with documents, the table `old` as an older docproc had written it, and what that one exported. */
  async function openOlder() {
    const library = await openLibrary(endpoint());
    const { settings } = library;
    const [a, b] = [await library.upload("a.txt", "a", "--tag", "k=1"), await library.upload("b.txt", "b")];
    const client = new DynamoDBClient({ endpoint: endpoint() ?? "" });
    onTestFinished(() => client.destroy());
    const itemsOf = async (TableName: string) => {
      const found: Item[] = [];
      for await (const { Items = [] } of paginateScan({ client }, { TableName })) found.push(...Items);
      return found;
    };
    const old = `${settings.table}-old`;
    const { cwd: _, ...sandbox } = await makeSandbox();
    const flags = ["--endpoint-url", endpoint() ?? "", "--bucket", settings.bucket ?? ""];
    const run = async (...argv: string[]) => await runDocproc({ ...sandbox, cwd: sandbox.home }, [...argv, ...flags]);
    expect(await library.run(["init", "--table", old])).toMatchObject({ status: 0 });
    const put = async (Item: Item) => await client.send(new PutItemCommand({ TableName: old, Item }));
    const catalog = (await itemsOf(settings.table ?? "")).find(({ sk }) => sk?.S === "catalog")?.["id"]?.S ?? "";
    await put({ pk: { S: "catalog" }, sk: { S: "catalog" }, id: { S: catalog }, format: { N: "1" } });
    for (const { id, name, size, sha256, contentType, uri, tags, metadata, source } of [a, b]) {
      const maps = { tags, metadata, source };
      await put({
        ...{ pk: { S: `doc#${Number.parseInt(id.slice(-1), 16) % 8}` }, sk: { S: id }, name: { S: name } },
        ...{ identity: { S: sha256 }, size: { N: String(size) }, sha256: { S: sha256 } },
        ...{ contentType: { S: contentType }, uri: { S: uri } },
        ...Object.fromEntries(Object.entries(maps).map(([field, map]) => [field, { S: JSON.stringify(map) }])),
      });
      await put({ pk: { S: `name#${name}` }, sk: { S: sha256 }, id: { S: id }, size: { N: String(size) } });
    }
    const older = ({ path: _path, expiresAt: _expiresAt, ...record }: DocumentRecord) => record;
    const records = join(sandbox.home, "records.ndjson");
    await writeFile(records, [a, b].map((record) => `${JSON.stringify(older(record))}\n`).join(""));
    return { run, a, b, old, catalog, records, home: sandbox.home, itemsIn: async () => await itemsOf(old) };
  }

  test("is refused by every command once, before anything is made, written or called ok", async () => {
    const { run, old, catalog, records, home, itemsIn } = await openOlder();
    const before = await itemsIn();
    for (const argv of [["init"], ["init", "--plan"], ["doctor"], ["list"], ["show", "a.txt"], ["import", records]]) {
      const { status, stdout, stderr } = await run(...argv, "--table", old);
      expect([argv, status]).toEqual([argv, 2]);
      expect(stderr.split("\n").filter((line) => line !== "")).toEqual([
        `error: The table ${old} has the layout of an older docproc.`,
        expect.stringContaining(
          "docproc export > records.ndjson. Then, with this one: docproc init --table NEW, and " +
            `docproc import records.ndjson --deep --adopt ${catalog} --table NEW.`,
        ),
      ]);
      expect(stdout).not.toMatch(/ table /);
      if (argv.join() === "init") expect(stdout).toBe("");
    }
    expect(await readdir(home)).toEqual(["records.ndjson"]);
    expect(await itemsIn()).toEqual(before);
  });

  test("is left by the way that the refusal names, and uploads and deletions are as they were", async () => {
    const { run, a, b, old, catalog, records, home } = await openOlder();
    const table = ["--table", `${old}-new`];
    expect(await run("init", ...table)).toMatchObject({ status: 0 });
    const imported = await run("import", records, "--deep", "--adopt", catalog, "--json", ...table);
    expect(imported).toMatchObject({ status: 0 });
    expect(imported.json().summary).toMatchObject({ imported: 2, unhashed: 0, otherCatalogs: [] });
    await writeFile(join(home, "a.txt"), "a");
    const again = await run("upload", "a.txt", "--tag", "k=1", "--json", ...table);
    expect(again.json().documents).toMatchObject([{ id: a.id, action: "unchanged" }]);
    const deleted = await run("delete", "b.txt", "--yes", "--json", ...table);
    expect(deleted.json().documents).toMatchObject([{ id: b.id, bytes: "removed" }]);
    expect((await run("doctor", "--json", ...table)).json()).toMatchObject({ findings: [] });
  });
});
