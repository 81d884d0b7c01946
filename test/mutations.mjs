/**
 * Deliberate bugs: each is a line or two of src/ that break one promise, and the tests named beside it have to turn red.
 * A bug that survives shows a promise that nothing checks. Run with `npm run test:mutations`, or with words of the
 * titles to try only those. Works on a copy; nothing here is changed.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** title, file, what stands there, what stands there instead, the tests that have to notice */
const mutations = [
  [
    "the record is committed before the upload is complete",
    "src/storage/s3-multipart.ts",
    "if (this.#uploadId !== undefined && !earlier.completed) await this.#complete(this.#uploadId);",
    "if (this.#uploadId !== undefined && !earlier.completed) this.#complete(this.#uploadId).catch(() => {});",
    ["test/s3-multipart.test.ts", "test/commands/upload-failures.test.ts"],
  ],
  [
    "nobody compares how many bytes were stored",
    "src/upload.ts",
    "if (stored.size !== size) throw notWhatWasSent(source.label, size, stored.size);",
    "",
    ["test/documents.test.ts"],
  ],
  [
    "S3's checksum of the object is not looked at",
    "src/storage/s3-multipart.ts",
    "return size === this.#size && (stored === null || stored === this.#crc32);",
    "return size !== undefined || stored !== undefined;",
    ["test/s3-multipart.test.ts", "test/resume.test.ts"],
  ],
  [
    "a completion may overwrite",
    "src/storage/s3-multipart.ts",
    `      IfNoneMatch: "*",
      MpuObjectSize: this.#size,`,
    "      MpuObjectSize: this.#size,",
    ["test/s3-multipart.test.ts", "test/storage.test.ts"],
  ],
  [
    "a small object may overwrite",
    "src/storage/s3-multipart.ts",
    `      IfNoneMatch: "*",
      ChecksumAlgorithm`,
    "      ChecksumAlgorithm",
    ["test/s3-multipart.test.ts", "test/storage.test.ts"],
  ],
  [
    "the journal is trusted without hashing again",
    "src/storage/s3-earlier-put.ts",
    "const same = saved?.sha256 === sha256 && saved.size === bytes;",
    "const same = saved !== undefined && sha256 !== undefined;",
    ["test/resume.test.ts", "test/s3-earlier-put.test.ts"],
  ],
  [
    "a part is left out although S3 does not list it as it was",
    "src/storage/s3-earlier-put.ts",
    "return same && stored?.size === bytes && bare(stored.ETag) === bare(saved.etag) ? stored : undefined;",
    "return same ? (stored ?? { PartNumber: number, ETag: bare(saved.etag), size: bytes }) : undefined;",
    ["test/resume.test.ts", "test/s3-earlier-put.test.ts"],
  ],
  [
    "two processes may have the same journal",
    "src/journal.ts",
    "PRAGMA locking_mode = EXCLUSIVE; ",
    "",
    ["test/journal.test.ts", "test/resume.test.ts"],
  ],
  [
    "a listing does not wait for a shard whose page is used",
    "src/metadata/dynamodb-listing.ts",
    "if (used.length > 0) {",
    "if (used.length === lists.length) {",
    ["test/metadata.test.ts"],
  ],
  [
    "a page of a listing is thrown away when the next one was asked for ahead",
    "src/metadata/dynamodb-listing.ts",
    "if (this.#ended || this.#coming) return;",
    "if (this.#ended) return;",
    ["test/metadata.test.ts"],
  ],
  [
    "documents that DynamoDB left out of a batch are taken for deleted",
    "src/metadata/dynamodb-reads.ts",
    "if (left.length === 0) return",
    "if (attempt > 0) return",
    ["test/dynamodb-listing.test.ts", "test/dynamodb-groups.test.ts"],
  ],
  [
    "whoever gives up a read ends it for the others",
    "src/metadata/groups.ts",
    "if (left === 0) last.abort();",
    "last.abort();",
    ["test/dynamodb-groups.test.ts"],
  ],
  [
    "whoever gives up a commit may not know that it is on the wire",
    "src/metadata/dynamodb-commits.ts",
    "givesUp: false,",
    "givesUp: true,",
    ["test/dynamodb-groups.test.ts"],
  ],
  [
    "one commit's reason is every commit's",
    "src/metadata/dynamodb-commits.ts",
    "answer.reasons.slice(index * itemsEach, (index + 1) * itemsEach)",
    "answer.reasons.slice()",
    ["test/metadata.test.ts", "test/dynamodb-groups.test.ts"],
  ],
  [
    "a group of which nobody knows whether it was done is committed again, each by itself",
    "src/metadata/dynamodb-commits.ts",
    "if (group.length === 1 || mayBeDone(error)) throw error;",
    "if (group.length === 1) throw error;",
    ["test/dynamodb-groups.test.ts"],
  ],
  [
    "two commits of one claim share a transaction",
    "src/metadata/dynamodb-commits.ts",
    "return taken <= mostBytes && !group.some((other) => other.keys.some((key) => keys.includes(key)));",
    "return taken <= mostBytes || keys.length === 0;",
    ["test/dynamodb-groups.test.ts"],
  ],
  [
    "the claim on a name is ignored in DynamoDB",
    "src/metadata/dynamodb-records.ts",
    "{ ...conditions, Item: claim,",
    "{ TableName: this.#table, Item: claim,",
    ["test/metadata.test.ts"],
  ],
  [
    "the claim on a name is ignored in SQLite",
    "src/metadata/local.ts",
    "UNIQUE (name, identity)",
    "UNIQUE (id, identity)",
    ["test/metadata.test.ts", "test/documents.test.ts"],
  ],
  [
    "the tags that a record had before somebody changed it are still looked for",
    "src/metadata/local.ts",
    "CREATE TRIGGER document_changed AFTER UPDATE ON documents",
    "CREATE TRIGGER document_changed AFTER UPDATE OF id ON documents",
    ["test/local-migration.test.ts"],
  ],
  [
    "a page begins with the last record of the one before",
    "src/metadata/local-listing.ts",
    "}~`;\n    else to = last;",
    "}`;\n    else to = last;",
    ["test/local-listing.test.ts", "test/metadata.test.ts"],
  ],
  [
    "what lies behind the first entries of a large index is not looked at",
    "src/metadata/local-listing.ts",
    "if (edge === undefined) return;",
    "if (edge === undefined || found > 0) return;",
    ["test/local-listing.test.ts"],
  ],
  [
    "a glob that picomatch takes its own way is found by its ends",
    "src/query.ts",
    `if (!orderlyGlob.test(glob)) return ["", ""];`,
    `if (glob === "") return ["", ""];`,
    ["test/query.test.ts"],
  ],
  [
    "bytes are removed although their record may be there",
    "src/metadata/doubt.ts",
    `return !(error instanceof DocprocError) || error.code === "UNAVAILABLE";`,
    "return !(error instanceof DocprocError);",
    ["test/documents.test.ts", "test/commands/upload-failures.test.ts"],
  ],
  [
    "a source that changed is stored all the same",
    "src/body.ts",
    `      if (size !== null && bytesRead !== size) throw sourceChanged(source.label);
      await source.assertUnchanged();`,
    "",
    ["test/documents.test.ts", "test/commands/upload-failures.test.ts"],
  ],
  [
    "a local object is published before it is flushed",
    "src/storage/local.ts",
    "    await handle.sync();\n    return size;",
    "    return size;",
    ["test/durability.test.ts"],
  ],
  [
    "the directory of a new object is not flushed",
    "src/storage/local.ts",
    "      await flushDirectories(dirname(target), this.#directory).catch(",
    "      await Promise.resolve().catch(",
    ["test/durability.test.ts"],
  ],
  [
    "the bytes go before the record",
    "src/documents.ts",
    "    const removed = await metadata.remove(record.id, signal)",
    "    await storage.remove(key, signal);\n    const removed = await metadata.remove(record.id, signal)",
    [
      "test/commands/delete-failures.test.ts",
      "test/crash.test.ts",
      "test/sweep-local.test.ts",
      "test/sweep-http.test.ts",
    ],
  ],
  [
    "what is downloaded is not hashed",
    "src/reader.ts",
    'if (digest.digest("hex") !== record.sha256)',
    'if (digest.digest("hex") === "")',
    ["test/reader.test.ts", "test/commands/verify.test.ts"],
  ],
  [
    "a download overwrites",
    "src/download.ts",
    "if (options.force) await rename(temporary, path);",
    'if (path !== "") await rename(temporary, path);',
    ["test/commands/download.test.ts", "test/commands/download-failures.test.ts"],
  ],
  [
    "a name from the catalog may lead out of the directory",
    "src/file-name.ts",
    `if (/[/\\0]/.test(name)) return "would be written elsewhere";`,
    "",
    ["test/file-name.test.ts"],
  ],
  [
    "a doctor removes what is a minute old",
    "src/doctor.ts",
    "export const untouchable = 24 * 3_600_000;",
    "export const untouchable = -1;",
    ["test/commands/doctor.test.ts"],
  ],
  [
    "a doctor removes what belongs to another catalog",
    "src/doctor.ts",
    'return ours ? "ours" : "other";',
    'return ours || stored ? "ours" : "other";',
    ["test/commands/doctor-aws.test.ts"],
  ],
  [
    "a doctor aborts the uploads of other programs",
    "src/doctor.ts",
    'if (kind === "multipart-upload" && !isDocumentKey(name, prefix)) continue;',
    "",
    ["test/commands/doctor-aws.test.ts"],
  ],
  [
    "a doctor does not look again before it removes",
    "src/doctor.ts",
    "  if (await metadata.get(object.id, signal)) return false;\n",
    "",
    ["test/reconcile.test.ts"],
  ],
  [
    "a lost catalog is taken for the right one",
    "src/doctor.ts",
    "const suspicious = ours > plausibleOrphans && ours > records && !trustCatalog;",
    "const suspicious = trustCatalog && ours < 0 && records < plausibleOrphans;",
    ["test/commands/doctor.test.ts"],
  ],
  [
    "what S3 stored is as old as the clock of this machine says",
    "src/storage/s3-objects.ts",
    "Date.now() + (skewOf(this.#client) ?? 0) - time.getTime()",
    "Date.now() - time.getTime()",
    ["test/commands/doctor-services.test.ts"],
  ],
  [
    "an upload is as old as its beginning, however busy it is",
    "src/storage/s3-objects.ts",
    "age: this.#ageOf(lastWorkedOn)",
    "age: this.#ageOf(Initiated)",
    ["test/commands/doctor-services.test.ts"],
  ],
  [
    "a document that rotted is a broken connection",
    "src/storage/s3-client.ts",
    'const responseChecksumValidation = "WHEN_REQUIRED";',
    'const responseChecksumValidation = "WHEN_SUPPORTED";',
    ["test/commands/verify.test.ts"],
  ],
  [
    "reading goes on from the beginning",
    "src/reader.ts",
    "range: { start: position, end }",
    "range: { start, end }",
    ["test/reader.test.ts"],
  ],
  [
    "an answer without an end is read to its end",
    "src/reader.ts",
    "if (position > end + 1) return;",
    "if (position > 10 * (end + 1)) return;",
    ["test/reader.test.ts"],
  ],
  [
    "a failed download leaves its temporary file",
    "src/download.ts",
    "    await rm(temporary, { force: true }).catch(() => {});\n",
    "",
    ["test/commands/download-failures.test.ts"],
  ],
  [
    "nobody is asked before documents are deleted",
    "src/confirm.ts",
    "if (yes) return;",
    "if (yes || question) return;",
    ["test/commands/delete.test.ts"],
  ],
  [
    "a batch of one that never began is done",
    "src/batch.ts",
    "if (total === 1 && complete && firstFailure) return firstFailure.error;",
    "if (total === 1 && complete) return firstFailure?.error;",
    ["test/batch.test.ts"],
  ],
  [
    "a cancelled transaction is final, whatever cancelled it",
    "src/metadata/dynamodb-transactions.ts",
    "if (!temporary) throw",
    "if (!temporary || attempt > 0) throw",
    ["test/retries.test.ts"],
  ],
  ["a stalled request waits for ever", "src/aws-client.ts", "socketTimeout: stall }", "}", ["test/retries.test.ts"]],
  [
    "the owner of the bucket is not asked for",
    "src/storage/s3-client.ts",
    "ExpectedBucketOwner: account",
    "",
    ["test/security/aws.test.ts"],
  ],
  [
    "messages keep their secrets",
    "src/secrets.ts",
    "  for (const secret of known) clean = clean.replaceAll(secret, hidden);\n",
    "",
    ["test/security/secrets.test.ts"],
  ],
  [
    "bytes that landed long ago are not looked for again",
    "src/upload.ts",
    "if (this.#options.now() - landed > landedLongAgo)",
    "if (landed < 0)",
    ["test/resume.test.ts", "test/documents.test.ts", "test/landed.test.ts"],
  ],
  [
    "a commit whose answer is lost is a failure",
    "src/upload.ts",
    "const recorded = mayBeDone(error) ? await isRecorded(metadata, record.id, signal) : false;",
    "const recorded = mayBeDone(error) ? false : false;",
    ["test/documents.test.ts", "test/sweep-http.test.ts"],
  ],
  [
    "nobody is told that an outcome is not known",
    "src/metadata/doubt.ts",
    `if (failure.code !== "UNAVAILABLE") return failure;`,
    `if (failure.code !== "CANCELLED") return failure;`,
    ["test/sweep-http.test.ts"],
  ],
  [
    "a disk that fails is taken for an empty one",
    "src/presence.ts",
    "if (isAbsence(error)) return undefined;",
    "if (isSystemError(error)) return undefined;",
    ["test/sweep-local.test.ts"],
  ],
  [
    "a write that is cut short is taken for a whole one",
    "src/atomic-file.ts",
    "while (offset < chunk.byteLength) {",
    "while (offset === 0 && chunk.byteLength > 0) {",
    ["test/sweep-local.test.ts"],
  ],
  [
    "a failed download leaves what it has got",
    "src/download.ts",
    "    await rm(temporary, { force: true }).catch(() => {});\n",
    "",
    ["test/sweep-local.test.ts"],
  ],
  [
    "an error without end is read to its end",
    "src/aws-client.ts",
    `if (context.commandName === "GetObjectCommand" && Number(response.statusCode) < 300) return reply;`,
    `if (context.commandName === "GetObjectCommand") return reply;`,
    ["test/security/endless-server.test.ts"],
  ],
  [
    "a part without a name counts as stored",
    "src/storage/s3-multipart.ts",
    `if (ETag === undefined) throw new UnusableAnswer("A part has no ETag.");`,
    `if (ETag === null) throw new UnusableAnswer("A part has no ETag.");`,
    ["test/security/hostile-server.test.ts"],
  ],
  [
    "a batch keeps what nobody will print",
    "src/batch.ts",
    "if (keep) outcomes[index] = { done };",
    "outcomes[index] = { done };",
    ["test/batch.test.ts"],
  ],
  [
    "a batch does not wait for what is in flight when its inputs cannot be found any further",
    "src/batch.ts",
    "search = { failed: error };",
    "throw error;",
    ["test/batch.test.ts"],
  ],
  [
    "a walk goes into the library that it uploads to",
    "src/inputs.ts",
    "skipped.excluded += 1;\n    return;",
    "skipped.excluded += 1;",
    ["test/inputs.test.ts"],
  ],
];

const words = process.argv.slice(2);
const chosen = mutations.filter(([title]) => words.every((word) => title.includes(word)));
const copy = mkdtempSync(join(tmpdir(), "docproc-mutations-"));
let survived = 0;
try {
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);
  for (const file of files) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  const node = (...argv) => spawnSync(process.execPath, argv, { cwd: copy, stdio: "ignore" }).status;
  const passes = (tests) => node("node_modules/vitest/vitest.mjs", "run", "--bail=1", ...tests) === 0;
  for (const [title, file, from, , tests] of chosen) {
    const places = readFileSync(join(copy, file), "utf8").split(from).length - 1;
    if (places !== 1) throw new Error(`${file} has ${places} places for: ${title}`);
    const missing = tests.filter((test) => !files.includes(test));
    if (missing.length > 0) throw new Error(`no such test: ${missing.join(", ")}`);
  }
  const all = new Set(chosen.flatMap(([, , , , tests]) => tests));
  // A test that fails anyway notices nothing.
  if (!passes([...all])) throw new Error("the tests do not pass as they are");
  for (const [title, file, from, to, tests] of chosen) {
    const path = join(copy, file);
    const original = readFileSync(path, "utf8");
    writeFileSync(path, original.split(from).join(to));
    // What does not even build is no bug that a test could catch.
    if (node("build.mjs") !== 0) throw new Error(`does not build: ${title}`);
    const caught = !passes(tests);
    writeFileSync(path, original);
    if (!caught) survived += 1;
    process.stdout.write(`${caught ? "caught  " : "SURVIVED"}  ${title}\n`);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
process.stdout.write(`${chosen.length - survived} of ${chosen.length} deliberate bugs were caught\n`);
process.exitCode = survived === 0 ? 0 : 1;
