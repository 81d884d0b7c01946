/** A registry of npm with what docproc is installed from: its own package as it would be published, and those it needs. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

const folders = [".", "node_modules/@photostructure/sqlite", "node_modules/node-gyp-build"];

interface Package {
  readonly manifest: Record<string, unknown>;
  readonly archive: Buffer;
}

/** Ends with the test. `asked` are the paths that were requested. */
export async function startRegistry(): Promise<{ readonly url: string; readonly asked: string[] }> {
  const packages = new Map<string, Package>();
  const scratch = mkdtempSync(join(tmpdir(), "docproc-registry-"));
  onTestFinished(() => rmSync(scratch, { recursive: true, force: true }));
  for (const folder of folders) {
    const argv = [
      "pack",
      "--json",
      "--ignore-scripts",
      "--pack-destination",
      scratch,
      folder === "." ? "." : `./${folder}`,
    ];
    const [packed] = JSON.parse(execFileSync("npm", argv, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
    const { devDependencies: _, ...manifest } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const archive = readFileSync(join(scratch, packed.filename.replace("@", "").replace("/", "-")));
    packages.set(manifest.name, { manifest, archive });
  }

  const asked: string[] = [];
  const server = createServer(({ url = "", headers: { host } }, response) => {
    asked.push(url);
    const isArchive = url.startsWith("/archive/");
    const name = decodeURIComponent(isArchive ? url.slice("/archive/".length) : url.slice(1));
    const found = packages.get(name);
    if (found === undefined) response.writeHead(404).end("{}");
    else if (isArchive) response.end(found.archive);
    else response.end(JSON.stringify(describe(found, `http://${host}/archive/${encodeURIComponent(name)}`)));
  });

  /** What is needed only to build is not there. */
  function describe({ manifest, archive }: Package, tarball: string) {
    const { name, version, scripts, dependencies = {} } = manifest as Record<string, string & Record<string, string>>;
    const needed = Object.entries(dependencies).filter(([one]) => packages.has(one));
    const integrity = `sha512-${createHash("sha512").update(archive).digest("base64")}`;
    const hasInstallScript = Boolean(scripts?.["install"]);
    const one = {
      ...manifest,
      dependencies: Object.fromEntries(needed),
      hasInstallScript,
      dist: { tarball, integrity },
    };
    return { name, "dist-tags": { latest: version }, versions: { [String(version)]: one } };
  }

  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked };
}
