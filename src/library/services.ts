/** The two services of a library, for this folder only. Commands and programs have a Library instead. */
import type { UploadOptions } from "../transfer/upload.ts";

/** The services, opened on first use, and what every operation on them needs. */
export type Services = Omit<UploadOptions, "journals" | "inMemoryLimit" | "memory">;
