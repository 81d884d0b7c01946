/** Two services as the operations of a library get them, and the upload protocol on them. */
import type { Services } from "../../src/library/services.ts";
import { Marks } from "../../src/metadata/marks.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import type { StorageService } from "../../src/storage/service.ts";
import { UploadProtocol } from "../../src/transfer/upload.ts";

export function servicesOf(storage: StorageService, metadata: MetadataService, now: () => number = Date.now): Services {
  const marks = new Marks(async () => metadata);
  return { storage: async () => storage, metadata: async () => metadata, marks, prefix: "", retries: 0, now };
}

/** @param inMemoryLimit bytes; larger documents are sent while they are read */
export function uploadsOf(services: Services, inMemoryLimit: number): UploadProtocol {
  return new UploadProtocol({ ...services, journals: undefined, inMemoryLimit, memory: 64 * 1024 ** 2 });
}
