/** Deep-freezes values that several parts of the program share. */
import type { DocumentRecord } from "./record.ts";

/**
 * A record as programs get it. What it holds may be held by other records too.
 * @param fresh made for this call, and frozen itself; of what it holds, copies are frozen
 */
export function frozenRecord<R extends DocumentRecord>(fresh: R): R {
  const { tags, metadata, source, provenance } = fresh;
  const held = { tags, metadata, source, provenance };
  if (Object.values(held).every((value) => value === null || Object.isFrozen(value))) return Object.freeze(fresh);
  const copies = Object.entries(held).map(([name, value]) => [name, frozenCopy(value)]);
  return Object.freeze({ ...fresh, ...Object.fromEntries(copies) });
}

/** Freezes an object and all that is in it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}

/** As it is where it is frozen already. A key may be `__proto__`, and there may be no prototype. */
function frozenCopy(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  const copy = Object.create(Object.getPrototypeOf(value));
  for (const [key, inner] of Object.entries(value)) {
    Object.defineProperty(copy, key, { value: frozenCopy(inner), enumerable: true });
  }
  return Object.freeze(copy);
}
