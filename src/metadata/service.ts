/**
 * The contract for the catalog of records. Drivers: local/, dynamodb/; registry.ts lists them.
 *
 * Beside each record stands a claim: the name and an identity (see `identityOf`), held by one document.
 * Everything thrown is a DocprocError; a vendor's error is only ever its cause. A read sees every commit that
 * was confirmed before it, to any process. The promises are what test/metadata/conformance.test.ts asks of every driver.
 */

import type { Driver } from "../core/driver.ts";
import type { ListQuery } from "../document/query.ts";
import type { DocumentRecord, TextMap } from "../document/record.ts";

export interface MetadataService {
  /** Where kinds of catalogs differ; nothing else of them is ever asked. */
  readonly traits: MetadataTraits;

  /**
   * Adds a record and its claim, both or neither. When the claim is held, nothing is written and the answer
   * names the holder; of any number of processes that commit the same claim at once, one succeeds.
   * Committing the same record again answers with its own id.
   *
   * After `UNAVAILABLE` nobody knows whether it was done; after any other failure nothing was written.
   */
  commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult>;

  /** The record exactly as it was committed, or undefined: absence is an answer. */
  get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined>;

  /** The id of the document that holds this claim, or undefined. */
  holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined>;

  /** Every claim of a name, or with undefined of all names, in no particular order, lazily. */
  claims(name: string | undefined, signal: AbortSignal): AsyncIterable<Claim>;

  /**
   * The records that match, newest first or oldest first, ordered by id, lazily. Every record that was
   * there from the beginning to the end is listed once, whatever is added or removed meanwhile.
   */
  list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord>;

  /**
   * Removes a record and its claim, both or neither. Returns the record, or undefined when there was none.
   * After `UNAVAILABLE` nobody knows whether it was done; after any other failure nothing was removed.
   */
  remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined>;

  /**
   * Gives a record other tags and the claim that goes with them, all of it or nothing, if its tags are still those of
   * `record`. When another document holds that claim, nothing is written and the answer names it. A record whose
   * claim has its id behind it (see {@link apart}, {@link unproved}) keeps one of that kind, which no other can hold.
   *
   * After `UNAVAILABLE` nobody knows whether it was done; after any other failure nothing was written.
   */
  retag(record: DocumentRecord, tags: TextMap, identity: string, signal: AbortSignal): Promise<RetagResult>;

  /**
   * Ends the {@link unproved} claim of a record: it gets the plain one, or one {@link apart} where another document
   * holds that. A record with another claim stays as it is.
   *
   * After `UNAVAILABLE` it may be done; after any other failure nothing was written.
   * @returns false when the record is gone, or has other tags than `record`
   */
  prove(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<boolean>;

  /**
   * The id of this catalog, made once, the same for every process and for ever. Objects are marked with it.
   * @throws INVALID_CONFIG when a newer version of docproc wrote the catalog
   */
  catalog(signal: AbortSignal): Promise<string>;

  /** The ids that {@link adopt} was given, each once, in no particular order. */
  adopted(signal: AbortSignal): Promise<readonly string[]>;

  /** Remembers that a catalog is gone, and that the objects that are marked with its id are this one's. Idempotent. */
  adopt(catalog: string, signal: AbortSignal): Promise<void>;

  /** Frees connections. May be called twice; nothing works afterwards. */
  close(): Promise<void>;
}

export type CommitResult = { readonly committed: true } | { readonly committed: false; readonly holder: string };

export type RetagResult =
  | { readonly retagged: true }
  /** Undefined: the record is gone, or has other tags than it had. */
  | { readonly retagged: false; readonly holder: string | undefined };

/** A claim that stands beside the one that another document with the same bytes and tags holds. */
export function apart(identity: string, id: string): string {
  return `${identity}#${id}`;
}

/**
 * The claim of a record that was imported and whose bytes were not read. Its SHA-256 is only what the file said, so that
 * no upload may find it and send nothing.
 */
export function unproved(identity: string, id: string): string {
  return `${apart(identity, id)}#unproved`;
}

/** The claim on another identity that is plain, apart or unproved as this one is. */
export function ofSameKind(claim: string, identity: string): string {
  const kind = claim.indexOf("#");
  return kind < 0 ? identity : `${identity}${claim.slice(kind)}`;
}

export interface Claim {
  readonly id: string;
  readonly name: string;
  /** Bytes of the document that holds the claim. */
  readonly size: number;
  /** Gives the claim up if its document is not there, and changes nothing if it is. */
  release(signal: AbortSignal): Promise<void>;
}

export interface MetadataTraits {
  /** True where {@link MetadataService.list} takes {@link ListQuery.sort}. */
  readonly sorts: boolean;
  /** True where reading every record costs nothing. Elsewhere it is charged for. */
  readonly readsFree: boolean;
}

export type MetadataDriver = Driver<MetadataService>;
