import type { MetadataTraits } from "../service.ts";

export const dynamodbTraits: MetadataTraits = { sorts: false, readsFree: false };
