/**
 * The project files that the user agreed to. Each consent is a small file in the user's config directory, named by a
 * hash of path and content, so that concurrent commands never write the same file differently.
 */
import { mkdir, readdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DocprocError, fromSystemError, isSystemError } from "../core/errors.ts";
import { createNew, privateDirectory, writeWhole } from "../files/atomic.ts";
import { isOurs, type Owners } from "../files/ownership.ts";
import { removeFile } from "../files/removal.ts";
import { isAbsence, statIfThere } from "../files/stat.ts";
import { type ConfigFile, sha256Of } from "./files.ts";

/** `changed`: the user agreed to other content of the file. */
export type Consent = "agreed" | "changed" | "none";

export class TrustStore {
  readonly #directory: string;
  readonly #owners: Owners;

  /** @param config the user's config directory, absolute */
  constructor(config: string, owners: Owners) {
    this.#directory = join(config, "trusted");
    this.#owners = owners;
  }

  /** Whether the user agreed to exactly this content. */
  async consentTo(file: ConfigFile): Promise<Consent> {
    const names = await this.#consents(file.path);
    if (names.includes(await nameOf(file))) return "agreed";
    return names.length > 0 ? "changed" : "none";
  }

  /**
   * Stores the user's consent to the current content.
   * @returns false when it was stored already
   * @throws ACCESS_DENIED when consents cannot be stored, or other users could add some
   */
  async agreeTo(file: ConfigFile): Promise<boolean> {
    const path = join(this.#directory, await nameOf(file));
    try {
      await mkdir(this.#directory, { recursive: true, mode: privateDirectory });
      if (!(await this.#isPrivate())) {
        throw new DocprocError("ACCESS_DENIED", `Other users may write to ${this.#directory}.`, {
          hint: "Restrict it to your user with chmod 700, and chown if another user owns it.",
        });
      }
      const handle = await createNew(path);
      try {
        await writeWhole(handle, Buffer.from(`${JSON.stringify({ path: file.path, sha256: file.sha256 })}\n`));
      } finally {
        await handle.close();
      }
      return true;
    } catch (error) {
      if (isSystemError(error) && error.code === "EEXIST" && error.path === path) return false;
      throw fromSystemError(error, this.#directory);
    }
  }

  /**
   * Removes every consent to a file, whatever its content.
   * @returns whether there was one
   * @throws CONFLICT when a consent is not a file that docproc made
   */
  async forget(path: string): Promise<boolean> {
    const names = await this.#consents(path);
    for (const name of names) {
      const own = { root: this.#directory, path: name, form: consentForm };
      const outcome = await removeFile(own).catch((error: unknown) => {
        throw fromSystemError(error, join(this.#directory, name));
      });
      if (outcome !== "foreign") continue;
      throw new DocprocError("CONFLICT", `docproc did not create ${join(this.#directory, name)}.`, {
        hint: "Remove it by hand.",
      });
    }
    return names.length > 0;
  }

  async #consents(path: string): Promise<string[]> {
    const prefix = `${await hashOfPath(path)}-`;
    try {
      const names = (await readdir(this.#directory)).filter((name) => name.startsWith(prefix));
      return names.length > 0 && (await this.#isPrivate()) ? names : [];
    } catch (error) {
      if (isAbsence(error)) return [];
      throw fromSystemError(error, this.#directory);
    }
  }

  async #isPrivate(): Promise<boolean> {
    const { mode = 0 } = (await statIfThere(this.#directory)) ?? {};
    // Windows has no such mode bits, and protects the directories of users by itself.
    return (await isOurs(this.#directory, this.#owners)) && (this.#owners === undefined || (mode & 0o022) === 0);
  }
}

/** The names from {@link nameOf}. */
const consentForm = /^[0-9a-f]{32}-[0-9a-f]{64}\.json$/;

async function nameOf({ path, sha256 }: ConfigFile): Promise<string> {
  return `${await hashOfPath(path)}-${sha256}.json`;
}

/** A hash of the path with its directories resolved, so that all paths to a file count as one. */
async function hashOfPath(path: string): Promise<string> {
  const real = join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path));
  return (await sha256Of(real)).slice(0, 32);
}
