/** Signed requests that anyone may send for a while: to read a document, or to restore its lost bytes. */
import { DocprocError } from "../core/errors.ts";
import type { DocumentRecord } from "../document/record.ts";
import { longestExpiry, type RequestToSign, type SignedRequest } from "../storage/service.ts";
import { keyOf } from "./documents.ts";
import type { Services } from "./services.ts";

export type { SignedRequest };

export type SignRequest = Pick<RequestToSign, "method" | "expiresIn" | "signal">;

/** Signs a request that reads a document's bytes, or restores lost ones: see {@link StorageService.sign}. */
export async function signDocument(
  services: Services,
  record: DocumentRecord,
  { method, expiresIn, signal }: SignRequest,
): Promise<SignedRequest> {
  const storage = await services.storage();
  const key = await keyOf(services, record, signal);
  const { name, contentType, size, sha256 } = record;
  if (method === "GET") return await storage.sign(key, { method, name, contentType, expiresIn, signal });
  const catalog = await services.marks.catalog(signal);
  return await storage.sign(key, { method, size, sha256, catalog, contentType, expiresIn, signal });
}

/**
 * Validates the life of a URL.
 * @param milliseconds any number
 * @param given for the message
 * @returns whole seconds, in milliseconds
 * @throws USAGE when it is too short or too long
 */
export function expiryOf(milliseconds: number, given: string): number {
  const expiry = Math.floor(milliseconds / 1000) * 1000;
  if (expiry >= 1000 && expiry <= longestExpiry) return expiry;
  throw new DocprocError("USAGE", `A URL cannot be valid for ${JSON.stringify(given)}.`, {
    hint: "Use a time from one second to seven days, such as 15m or 12h.",
  });
}
