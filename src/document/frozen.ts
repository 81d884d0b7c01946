/** Deep-freezes values that several parts of the program share. */
import type { DocumentRecord } from "./record.ts";

/**
 * Freezes a record before it is handed to a program. Its inner values may be shared with other records.
 * @param fresh made for this call; inner values that are not frozen are copied
 */
export function frozenRecord<R extends DocumentRecord>(fresh: R): R {
  const { tags, metadata, source, provenance } = fresh;
  const held = { tags, metadata, source, provenance };
  if (Object.values(held).every((value) => value === null || Object.isFrozen(value))) return Object.freeze(fresh);
  const copies = Object.entries(held).map(([name, value]) => [name, frozenCopy(value)]);
  return Object.freeze({ ...fresh, ...Object.fromEntries(copies) });
}

/** Freezes an object and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}

/** Returns frozen values unchanged. A key may be `__proto__`, and the prototype may be null. */
function frozenCopy(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  const copy = Object.create(Object.getPrototypeOf(value));
  for (const [key, inner] of Object.entries(value)) {
    Object.defineProperty(copy, key, { value: frozenCopy(inner), enumerable: true });
  }
  return Object.freeze(copy);
}
