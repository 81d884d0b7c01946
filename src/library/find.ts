/** Resolves a document reference: an id, a path, or the beginning of an id. */

import { DocprocError } from "../core/errors.ts";
import { isDocumentPath, typedPath } from "../document/path.ts";
import { type DocumentRecord, isDocumentId } from "../document/record.ts";
import type { MetadataService } from "../metadata/service.ts";
import type { Near } from "./nearest.ts";

/** The first digits of an id as it is printed, enough of them that few documents share them. */
const beginningOfId = /^[0-9a-f]{8}[0-9a-f-]{0,27}$/;

/**
 * Finds one document by its id, by its path (the newest version), or by a unique beginning of its id.
 * @throws NOT_FOUND, which says what is near; CONFLICT when the reference means two documents
 */
export async function findDocument(
  metadata: MetadataService,
  reference: string,
  signal: AbortSignal,
): Promise<DocumentRecord> {
  // An id is known in upper case, too. A beginning in upper case is more likely a path, as any other text is.
  const id = reference.toLowerCase();
  const byId = isDocumentId(id) ? (await metadata.get(id, signal))?.record : undefined;
  const byPath = await findByPath(metadata, reference, signal);
  const alike =
    beginningOfId.test(reference) && byId === undefined ? await beginningWith(metadata, reference, signal) : [];
  const meant = [byId, byPath, ...alike].filter((record) => record !== undefined);
  const [found] = meant;
  if (found === undefined) throw await notFound(metadata, reference, signal);
  if (meant.every(({ id }) => id === found.id)) return found;
  throw ambiguous(reference, byPath, byId, alike);
}

/** @throws NOT_FOUND when no document has this id */
export async function getDocument(metadata: MetadataService, id: string, signal: AbortSignal): Promise<DocumentRecord> {
  const entry = await metadata.get(id, signal);
  if (entry === undefined) throw new DocprocError("NOT_FOUND", `No document has the id ${id}.`);
  return entry.record;
}

/** The newest document of a path. */
async function findByPath(
  metadata: MetadataService,
  reference: string,
  signal: AbortSignal,
): Promise<DocumentRecord | undefined> {
  const path = typedPath(reference);
  if (!isDocumentPath(path)) return undefined;
  for await (const id of metadata.versions(path, signal)) {
    const entry = await metadata.get(id, signal);
    // Deleted meanwhile: the previous one is the newest then.
    if (entry) return entry.record;
  }
  return undefined;
}

/** Records that are read at once: a service may take them as one request. */
const batchSize = 100;

/** The documents of a path, newest first. */
export async function* documentsOf(
  metadata: MetadataService,
  path: string,
  signal: AbortSignal,
): AsyncIterable<DocumentRecord> {
  let ids: string[] = [];
  for await (const id of metadata.versions(path, signal)) {
    if (ids.push(id) < batchSize) continue;
    yield* await readAll();
    ids = [];
  }
  yield* await readAll();

  async function readAll(): Promise<DocumentRecord[]> {
    const entries = await Promise.all(ids.map((id) => metadata.get(id, signal)));
    return entries.flatMap((entry) => (entry ? [entry.record] : []));
  }
}

/** Two documents at most: more say nothing new. */
async function beginningWith(
  metadata: MetadataService,
  prefix: string,
  signal: AbortSignal,
): Promise<DocumentRecord[]> {
  const found: DocumentRecord[] = [];
  for await (const { record } of metadata.list({ ascending: true, idPrefix: prefix, expected: 2 }, signal)) {
    if (found.push(record) === 2) break;
  }
  return found;
}

function ambiguous(
  reference: string,
  byPath: DocumentRecord | undefined,
  byId: DocumentRecord | undefined,
  alike: readonly DocumentRecord[],
): DocprocError {
  const others = alike.flatMap(({ id }) => (id === byPath?.id ? [] : [id]));
  if (byPath === undefined) {
    return new DocprocError("CONFLICT", `More than one document has an id that begins with ${reference}.`, {
      hint: `Use more of its digits. Two of them: ${others.join(" and ")}.`,
    });
  }
  let [what, how] = ["the beginning of the id of another", `the other document its whole id: ${others.join()}`];
  if (others.length > 1) [what, how] = ["the beginning of the ids of others", `another its id: ${others.join(" or ")}`];
  if (byId) [what, how] = ["the id of another", `the other document fewer digits: ${byId.id.slice(0, -1)}`];
  return new DocprocError("CONFLICT", `${JSON.stringify(reference)} is the path of one document and ${what}.`, {
    hint: `For the path write ./${reference}, for ${how}.`,
  });
}

async function notFound(metadata: MetadataService, reference: string, signal: AbortSignal): Promise<DocprocError> {
  const { whatIsNear } = await import("./nearest.ts");
  const near = await whatIsNear(metadata, reference, signal);
  const message = `No document has the path or id ${JSON.stringify(reference)}.`;
  // Another program has taken the document out of the versions of its path.
  const isListed = near.paths.includes(typedPath(reference));
  return new DocprocError("NOT_FOUND", message, {
    hint: isListed ? "But docproc list shows one: run docproc doctor." : hintOf(near),
  });
}

function hintOf({ folder, paths }: Near): string {
  if (folder !== undefined) {
    const [listed, under] = [`${folder}/`, folder].map(shellWord);
    return `It is a folder: docproc list ${listed} shows its documents, download and copy take them with --under ${under}.`;
  }
  return paths.length === 0 ? "Run docproc list to see the documents." : `Did you mean ${paths.join(" or ")}?`;
}

/** A path as a POSIX shell takes it. */
function shellWord(path: string): string {
  return /^[\w./][\w./-]*$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
