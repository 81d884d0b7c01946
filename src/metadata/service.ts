/**
 * The catalog contract. Drivers: local/, dynamodb/; registry.ts lists them.
 *
 * Beside each record stands a claim: a name and an identity (see `identityOf`), held by one document. Every error is a
 * DocprocError; a vendor's error is only its cause. A read sees every commit confirmed before it, by any process.
 * test/metadata/conformance.test.ts tests these promises against every driver.
 */

import type { Driver } from "../core/driver.ts";
import type { ListQuery } from "../document/query.ts";
import type { DocumentRecord, TextMap } from "../document/record.ts";

export interface MetadataService {
  /** The only way callers may tell drivers apart. */
  readonly traits: MetadataTraits;

  /**
   * Adds a record and its claim, both or neither. When the claim is held, nothing is written and the result names the
   * holder. When many processes commit one claim at once, exactly one succeeds. Committing the same record again
   * returns its own id.
   *
   * After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was written.
   */
  commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult>;

  /** The record exactly as committed; undefined when there is none. */
  get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined>;

  /** The id of the document that holds this claim, if any. */
  holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined>;

  /** Lists the claims of a name (undefined: of all names), in no particular order, lazily. */
  claims(name: string | undefined, signal: AbortSignal): AsyncIterable<Claim>;

  /**
   * Lists the matching records by id, newest or oldest first, lazily. A record that exists from beginning to end is
   * listed exactly once, whatever is added or removed meanwhile.
   */
  list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord>;

  /**
   * Removes a record and its claim, both or neither. Returns the record, or undefined if there was none. After
   * `UNAVAILABLE` the outcome is unknown; after any other failure nothing was removed.
   */
  remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined>;

  /**
   * Replaces the tags of a record, and its claim with them, atomically, if its tags are still those of `record`. When
   * another document holds the new claim, nothing is written and the result names the holder. A claim that ends in the
   * record's id (see {@link apart}, {@link unproved}) keeps its kind, which no other document can hold.
   *
   * After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was written.
   */
  retag(record: DocumentRecord, tags: TextMap, identity: string, signal: AbortSignal): Promise<RetagResult>;

  /**
   * Replaces an {@link unproved} claim by the plain one, or by one {@link apart} if another document holds that. Any
   * other claim stays.
   *
   * After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was written.
   * @returns false when the record is gone or has other tags than `record`
   */
  prove(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<boolean>;

  /**
   * The permanent id of this catalog, the same for every process. Objects are marked with it.
   * @throws INVALID_CONFIG when a newer version of docproc wrote the catalog
   */
  catalog(signal: AbortSignal): Promise<string>;

  /** The ids passed to {@link adopt}, each once, in no particular order. */
  adopted(signal: AbortSignal): Promise<readonly string[]>;

  /** Records that a catalog is gone and that its objects now belong to this one. Idempotent. */
  adopt(catalog: string, signal: AbortSignal): Promise<void>;

  /** Frees connections. May be called twice; the service is unusable afterwards. */
  close(): Promise<void>;
}

export type CommitResult = { readonly committed: true } | { readonly committed: false; readonly holder: string };

export type RetagResult =
  | { readonly retagged: true }
  /** Undefined: the record is gone, or its tags have changed. */
  | { readonly retagged: false; readonly holder: string | undefined };

/** The claim of a document stored beside another one with the same bytes and tags. */
export function apart(identity: string, id: string): string {
  return `${identity}#${id}`;
}

/**
 * The claim of an imported record whose bytes were not read. Its SHA-256 is unverified, so no upload may match it and
 * send nothing.
 */
export function unproved(identity: string, id: string): string {
  return `${apart(identity, id)}#unproved`;
}

/** The claim on `identity` of the same kind (plain, apart or unproved) as `claim`. */
export function ofSameKind(claim: string, identity: string): string {
  const kind = claim.indexOf("#");
  return kind < 0 ? identity : `${identity}${claim.slice(kind)}`;
}

export interface Claim {
  readonly id: string;
  readonly name: string;
  /** Bytes of the document that holds the claim. */
  readonly size: number;
  /** Releases the claim if its document is gone; otherwise does nothing. */
  release(signal: AbortSignal): Promise<void>;
}

export interface MetadataTraits {
  /** True when {@link MetadataService.list} supports {@link ListQuery.sort}. */
  readonly sorts: boolean;
  /** True when reading every record is free of charge. */
  readonly readsFree: boolean;
}

export type MetadataDriver = Driver<MetadataService>;
