/** The two services of a library, for what is done in this folder. Commands and programs have a Library instead. */
import type { UploadOptions } from "../transfer/upload.ts";

/** The services, which open when they are first asked for, and what every operation on them has to know. */
export type Services = Omit<UploadOptions, "journals" | "inMemoryLimit" | "memory">;
