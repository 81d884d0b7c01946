import type { StorageTraits } from "../service.ts";

export const s3Traits: StorageTraits = {
  resumes: true,
  rangesInFlight: 4,
  shared: true,
  checksums: true,
  signs: true,
  scheme: "s3",
};
