/** The content type of a document, for whoever may not need it: what detects it takes time to load. */

/** See `detectContentType`. */
export async function detectedType(name: string, head: Uint8Array): Promise<string> {
  const { detectContentType } = await import("./content-type.ts");
  return await detectContentType(name, head);
}
