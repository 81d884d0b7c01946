import { expect, test } from "vitest";
import { type Database, openDatabase } from "../../src/files/sqlite.ts";
import { breakSqlite } from "./sqlite-faults.ts";

const open = async () => await openDatabase("", 0, (made) => made.exec("CREATE TABLE t (a)"));
const count = (database: Database) => database.prepare("SELECT count(*) AS n FROM t").get();
const insert = "INSERT INTO t VALUES (1)";

test("the n-th call fails with its code, and no other", async () => {
  const broken = await breakSqlite();
  const database = await open();
  broken.arm({ errcode: 10, done: false }, 3);
  database.exec(insert);
  const statement = database.prepare(insert);
  expect(() => statement.run()).toThrow(expect.objectContaining({ errcode: 10, message: "disk I/O error" }));
  statement.run();
  expect(broken.disarm()).toEqual([`run ${insert}`]);
  expect(count(database)).toEqual({ n: 2 });
  database.close();
});

test("what fails after it was done is done", async () => {
  const broken = await breakSqlite();
  const database = await open();
  broken.arm({ errcode: 10, done: true }, 1);
  expect(() => database.exec(insert)).toThrow(expect.objectContaining({ errcode: 10 }));
  broken.disarm();
  expect(count(database)).toEqual({ n: 1 });
  database.close();
});

test("a full disk ends the transaction", async () => {
  const broken = await breakSqlite();
  const database = await open();
  database.exec(`BEGIN; ${insert}`);
  broken.arm({ errcode: 13, done: false }, 1);
  expect(() => database.exec(insert)).toThrow(expect.objectContaining({ errcode: 13 }));
  broken.disarm();
  expect(() => database.exec("ROLLBACK")).toThrow(/no transaction/);
  expect(count(database)).toEqual({ n: 0 });
  database.close();
});

test("databases fail until the test ends", async () => {
  const broken = await breakSqlite();
  broken.arm({ errcode: 10, done: false }, 1);
  await expect(open()).rejects.toMatchObject({ errcode: 10 });
  broken.arm({ errcode: 10, done: false }, 1);
});

test("databases work again after the test", async () => {
  const database = await open();
  database.exec(insert);
  database.close();
});
