/** Bundles the program into dist/: a small start-up file, and chunks for what only some commands need. */
import { execFileSync } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "rolldown";
import { bundle, options, version } from "./bundle.mjs";

const began = new Date();

const output = await bundle({
  dir: "dist",
  // Keeps names readable in the stack traces of -v.
  minify: {
    compress: { keepNames: { function: true, class: true } },
    mangle: false,
    codegen: { removeWhitespace: true },
  },
});
const entry = output.find(({ name, isEntry }) => isEntry && name === "library");
await writeDeclarations();
// For `import`. Lists the names, because Node would have to guess them.
await writeFile(
  "dist/library.mjs",
  `import library from "./library.js";\nexport const { ${entry.exports.join(", ")} } = library;\n`,
);
await writeFile("dist/docproc.1", await manualPage());
await mkdir("dist/schemas", { recursive: true });
for (const file of await readdir("src/schemas")) {
  if (file.endsWith(".json")) await copyFile(join("src/schemas", file), join("dist/schemas", file));
}
const licenses = "THIRD-PARTY-LICENSES.txt";
await writeFile(`dist/${licenses}`, await licensesOf(output.flatMap((chunk) => chunk.moduleIds ?? [])));
// The sources are ES modules.
await writeFile("dist/package.json", `${JSON.stringify({ type: "commonjs" })}\n`);
await chmod("dist/docproc.js", 0o755);

// Delete old files last, so that a program running meanwhile finds all of its own.
const made = new Set([
  licenses,
  "package.json",
  "docproc.1",
  "schemas",
  "library.mjs",
  "library.d.ts",
  "library.d.mts",
  "types",
  ...output.filter((file) => !isMapOfPackages(file, output)).map(({ fileName }) => fileName),
]);
for (const file of await readdir("dist")) if (!made.has(file)) await rm(`dist/${file}`, { recursive: true });
// By this time test/support/build.ts sees if the build is stale.
await utimes("dist/package.json", began, began);

/** True for the source map of a file that contains only packages: half of all maps, and useless to us. */
function isMapOfPackages({ fileName }, output) {
  const mapped = output.find((file) => file.type === "chunk" && `${file.fileName}.map` === fileName);
  return mapped?.moduleIds.every((id) => /[\\/]node_modules[\\/]|^\0/.test(id)) ?? false;
}

/** Renders the manual page. The command tree is TypeScript, so it is bundled first. */
async function manualPage() {
  const folder = await mkdtemp(join(tmpdir(), "docproc-manual-"));
  try {
    const output = { dir: folder, format: "esm", entryFileNames: "[name].mjs", chunkFileNames: "[name]-[hash].mjs" };
    await build({ ...options, input: { manual: "src/cli/help/manual.ts" }, output });
    const { manual } = await import(pathToFileURL(join(folder, "manual.mjs")).href);
    // https://reproducible-builds.org/specs/source-date-epoch/
    const { SOURCE_DATE_EPOCH: seconds } = process.env;
    const date = seconds ? new Date(Number(seconds) * 1000) : new Date();
    return await manual(version, date.toISOString().slice(0, 10));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes the type declarations of the library and what they import. */
async function writeDeclarations() {
  const all = await mkdtemp(join(tmpdir(), "docproc-types-"));
  try {
    const tsc = "node_modules/typescript/bin/tsc";
    execFileSync(process.execPath, [tsc, "-p", "tsconfig.types.json", "--outDir", all], { stdio: "inherit" });
    await rm("dist/types", { recursive: true, force: true });
    const needed = new Set(["bin/library.d.ts"]);
    // Iteration over a set includes entries added meanwhile.
    for (const file of needed) {
      const text = await readFile(join(all, file), "utf8");
      for (const [, path] of text.matchAll(/["'](\.[^"']+)\.ts["']/g)) needed.add(`${join(dirname(file), path)}.d.ts`);
      await mkdir(join("dist/types", dirname(file)), { recursive: true });
      await writeFile(join("dist/types", file), text.replace(/(["']\.[^"']+)\.ts(["'])/g, "$1.js$2"));
    }
  } finally {
    await rm(all, { recursive: true, force: true });
  }
  for (const name of ["library.d.ts", "library.d.mts"]) {
    await writeFile(`dist/${name}`, `export * from "./types/bin/library.js";\n`);
  }
}

/** The licences of bundled packages must accompany every copy. */
async function licensesOf(modules) {
  const folders = modules.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(relative(".", path))?.[1]);
  const texts = [];
  for (const folder of [...new Set(folders.filter(Boolean))].sort()) {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const files = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license", "license.md", "LICENCE"];
    const found = await Promise.all(files.map((file) => readFile(`${folder}/${file}`, "utf8").catch(() => "")));
    texts.push(`${name} ${version} (${license})\n\n${found.find(Boolean) ?? ""}`.trim());
  }
  return `${texts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
