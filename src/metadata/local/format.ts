/** The format of the SQLite catalog, and how earlier ones become it. */
import { DocprocError } from "../../core/errors.ts";
import { canonicalJson, composed } from "../../document/record.ts";
import { isTextMap } from "../../document/stored-form.ts";
import { asRow, type Database, rollBack } from "../../files/sqlite.ts";

/** "dpc1": distinguishes our catalog from any other SQLite file. */
const applicationId = 0x64706331;

/** The name with `_` for each control character, which names could have and paths cannot. */
const nameAsPath = `iif(name GLOB '*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*', (
    WITH RECURSIVE cleaned(steps, text) AS (
      VALUES (0, name)
      UNION ALL
      SELECT steps + 1, replace(text, char(iif(steps < 31, steps + 1, steps + 96)), '_') FROM cleaned WHERE steps < 64
    )
    SELECT text FROM cleaned WHERE steps = 64
  ), name)`;

/** SQL for a text with other characters than printable ASCII, which may not be in Unicode NFC. */
const beyondAscii = "GLOB '*[^ -~]*'";
/** SQL for the two maps of a row in Unicode NFC. Most rows are ASCII and need no call. */
const composedTags = `iif((tags || metadata) ${beyondAscii}, composed(tags, metadata), tags)`;
const composedMetadata = `iif((tags || metadata) ${beyondAscii}, composed(metadata, tags), metadata)`;

/**
 * One entry per format, applied in order, never edited after a release. `PRAGMA user_version` counts the applied ones.
 * Text compares by UTF-8 bytes, SQLite's default, as in DynamoDB.
 */
const migrations: readonly string[] = [
  `CREATE TABLE documents (
     id TEXT PRIMARY KEY,
     name TEXT NOT NULL,
     identity TEXT NOT NULL,
     size INTEGER NOT NULL CHECK (size >= 0),
     content_type TEXT NOT NULL,
     sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
     uri TEXT NOT NULL,
     tags TEXT NOT NULL CHECK (json_valid(tags)),
     metadata TEXT NOT NULL CHECK (json_valid(metadata)),
     source TEXT NOT NULL CHECK (json_valid(source)),
     provenance TEXT CHECK (json_valid(provenance)),
     UNIQUE (name, identity)
   ) STRICT, WITHOUT ROWID`,
  `ALTER TABLE documents ADD COLUMN crc32 TEXT;
   CREATE TABLE catalog (id TEXT NOT NULL) STRICT;
   INSERT INTO catalog VALUES (lower(hex(randomblob(16))))`,
  // For listings. Triggers maintain the tags for every writer, in the same transaction. Damaged tags are skipped;
  // reading the record reports them.
  `CREATE INDEX documents_by_name ON documents (name);
   CREATE INDEX documents_by_beginning ON documents (substr(name, 1, 3), id, name);
   CREATE INDEX documents_by_type ON documents (content_type);
   CREATE TABLE tags (
     key TEXT NOT NULL,
     value TEXT NOT NULL,
     id TEXT NOT NULL,
     PRIMARY KEY (key, value, id)
   ) STRICT, WITHOUT ROWID;
   INSERT OR IGNORE INTO tags
     SELECT tag.key, tag.value, document.id
     FROM documents document, json_each(iif(json_valid(document.tags), document.tags, '{}')) tag
     WHERE tag.type = 'text'
     ORDER BY 1, 2, 3;
   CREATE TRIGGER document_added AFTER INSERT ON documents BEGIN
     INSERT OR IGNORE INTO tags SELECT key, value, new.id FROM json_each(new.tags) WHERE type = 'text';
   END;
   CREATE TRIGGER document_removed AFTER DELETE ON documents BEGIN
     DELETE FROM tags WHERE (key, value, id) IN (
       SELECT key, value, old.id FROM json_each(iif(json_valid(old.tags), old.tags, '{}')) WHERE type = 'text');
   END;
   CREATE TRIGGER document_changed AFTER UPDATE ON documents BEGIN
     DELETE FROM tags WHERE (key, value, id) IN (
       SELECT key, value, old.id FROM json_each(iif(json_valid(old.tags), old.tags, '{}')) WHERE type = 'text');
     INSERT OR IGNORE INTO tags SELECT key, value, new.id FROM json_each(new.tags) WHERE type = 'text';
   END`,
  // For listings by size, commit or CI run. Of a commit only the digits that people type.
  `CREATE INDEX documents_by_size ON documents (size);
   CREATE INDEX documents_by_commit
     ON documents (substr(iif(json_valid(provenance), provenance, '{}') ->> '$.git.commit', 1, 7))
     WHERE provenance IS NOT NULL;
   CREATE INDEX documents_by_run
     ON documents (iif(json_valid(provenance), provenance, '{}') ->> '$.ci.run')
     WHERE provenance IS NOT NULL`,
  // Ids of vanished catalogs whose objects now belong to this one.
  "CREATE TABLE adopted (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
  // Paths, series and times of expiry, and tags and metadata in Unicode NFC. Damaged rows are kept as they are: reading
  // them reports them. The table of tags is touched only where tags change.
  `PRAGMA ignore_check_constraints = ON;
   CREATE TABLE moved (
     id TEXT PRIMARY KEY,
     path TEXT NOT NULL,
     name TEXT NOT NULL,
     size INTEGER NOT NULL CHECK (size >= 0),
     content_type TEXT NOT NULL,
     sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
     uri TEXT NOT NULL,
     tags TEXT NOT NULL CHECK (json_valid(tags)),
     metadata TEXT NOT NULL CHECK (json_valid(metadata)),
     source TEXT NOT NULL CHECK (json_valid(source)),
     provenance TEXT CHECK (json_valid(provenance)),
     crc32 TEXT,
     expires_at TEXT,
     given TEXT NOT NULL CHECK (json_valid(given)),
     proved INTEGER NOT NULL CHECK (proved IN (0, 1))
   ) STRICT, WITHOUT ROWID;
   INSERT INTO moved
     SELECT id, path, path, size, content_type, sha256, uri, ${composedTags}, ${composedMetadata},
       source, provenance, crc32, NULL, ${composedTags}, substr(identity, -9) <> '#unproved'
     FROM (SELECT *, ${nameAsPath} AS path FROM documents ORDER BY id);
   DELETE FROM tags WHERE (key || value) ${beyondAscii};
   INSERT OR IGNORE INTO tags
     SELECT tag.key, tag.value, moved.id
     FROM moved, json_each(iif(json_valid(moved.tags), moved.tags, '{}')) tag
     WHERE tag.type = 'text' AND (tag.key || tag.value) ${beyondAscii}
     ORDER BY 1, 2, 3;
   DROP TABLE documents;
   ALTER TABLE moved RENAME TO documents;
   PRAGMA ignore_check_constraints = OFF;
   CREATE INDEX documents_by_path ON documents (path, id, given);
   CREATE INDEX documents_by_sha256 ON documents (sha256, path);
   CREATE INDEX documents_by_name ON documents (name);
   CREATE INDEX documents_by_beginning ON documents (substr(name, 1, 3), id, name);
   CREATE INDEX documents_by_type ON documents (content_type);
   CREATE INDEX documents_by_size ON documents (size);
   CREATE INDEX documents_by_branch
     ON documents (iif(json_valid(provenance), provenance, '{}') ->> '$.git.branch')
     WHERE provenance IS NOT NULL;
   CREATE INDEX documents_by_commit
     ON documents (substr(iif(json_valid(provenance), provenance, '{}') ->> '$.git.commit', 1, 7))
     WHERE provenance IS NOT NULL;
   CREATE INDEX documents_by_run
     ON documents (iif(json_valid(provenance), provenance, '{}') ->> '$.ci.run')
     WHERE provenance IS NOT NULL;
   CREATE TRIGGER document_added AFTER INSERT ON documents BEGIN
     INSERT OR IGNORE INTO tags SELECT key, value, new.id FROM json_each(new.tags) WHERE type = 'text';
   END;
   CREATE TRIGGER document_removed AFTER DELETE ON documents BEGIN
     DELETE FROM tags WHERE (key, value, id) IN (
       SELECT key, value, old.id FROM json_each(iif(json_valid(old.tags), old.tags, '{}')) WHERE type = 'text');
   END;
   CREATE TRIGGER document_changed AFTER UPDATE OF id, tags ON documents BEGIN
     DELETE FROM tags WHERE (key, value, id) IN (
       SELECT key, value, old.id FROM json_each(iif(json_valid(old.tags), old.tags, '{}')) WHERE type = 'text');
     INSERT OR IGNORE INTO tags SELECT key, value, new.id FROM json_each(new.tags) WHERE type = 'text';
   END`,
];

/** The function that {@link composedTags} calls. Where one of both maps cannot be changed, the other stays, too. */
function composedJson(json: unknown, other: unknown): string {
  return (composedOrNot(other) !== undefined && composedOrNot(json)) || String(json);
}

/** A map in NFC; undefined for damage, and where two keys would become one. */
function composedOrNot(json: unknown): string | undefined {
  let twins = false;
  const onTwin = () => {
    twins = true;
  };
  try {
    const map: unknown = JSON.parse(String(json));
    const result = isTextMap(map) ? canonicalJson(composed(map, onTwin)) : undefined;
    return twins ? undefined : result;
  } catch {
    return undefined;
  }
}

/**
 * @returns whether docproc created it: an empty one may be anyone's
 * @throws INVALID_CONFIG, CONFLICT for a database that this version of docproc must not touch
 */
export function assertOurs(database: Database, path: string): boolean {
  if (versionOf(database) > migrations.length) {
    throw new DocprocError("INVALID_CONFIG", `${path} was written by a newer version of docproc.`, {
      hint: "Upgrade docproc. Nothing was changed.",
    });
  }
  const owner = Number(asRow(database.prepare("PRAGMA application_id").get())["application_id"]);
  const tables = Number(asRow(database.prepare("SELECT count(*) AS n FROM sqlite_schema").get())["n"]);
  if (owner !== applicationId && tables > 0) {
    throw new DocprocError("CONFLICT", `${path} is a database of another program.`, {
      hint: "Choose another place with --directory. Nothing was changed.",
    });
  }
  return owner === applicationId;
}

function versionOf(database: Database): number {
  return Number(asRow(database.prepare("PRAGMA user_version").get())["user_version"]);
}

/**
 * Brings a database up to date, or makes a new one.
 * @throws as {@link assertOurs}
 */
export function migrate(database: Database, path: string): void {
  if (versionOf(database) === migrations.length) return;
  // Check again under the lock: two concurrent first runs must not both migrate.
  database.exec("BEGIN IMMEDIATE");
  try {
    assertOurs(database, path);
    database.function("composed", { deterministic: true }, composedJson);
    for (const migration of migrations.slice(versionOf(database))) database.exec(migration);
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    rollBack(database);
    throw error;
  }
}
