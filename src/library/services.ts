/** The two services of a library, for this folder only. Commands and programs have a DocumentLibrary instead. */
import type { UploadProtocolOptions } from "../transfer/upload.ts";

/** The services, opened on first use, and what every operation on them needs. */
export type Services = Omit<UploadProtocolOptions, "journals" | "inMemoryLimit" | "memory">;
