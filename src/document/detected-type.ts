/** Loads content-type detection on first use; loading it takes time. */

/** See `detectContentType`. */
export async function detectedType(name: string, head: Uint8Array): Promise<string> {
  const { detectContentType } = await import("./content-type.ts");
  return await detectContentType(name, head);
}
