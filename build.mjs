/** Bundles the program into dist/: one small file to start with, and what only some commands need in chunks. */
import { chmod, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { relative } from "node:path";
import { build } from "rolldown";

const { version, dependencies } = JSON.parse(await readFile("package.json", "utf8"));

const { output } = await build({
  input: { docproc: "bin/docproc.ts", "digest-thread": "src/digest-thread.js" },
  platform: "node",
  // ES modules first: of the SDK only what is used ends up in the bundle.
  resolve: { mainFields: ["module", "main"] },
  // Real dependencies stay packages. cosmiconfig could load TypeScript files, which docproc never asks for.
  external: [...Object.keys(dependencies), "typescript"],
  plugins: [withoutOtherPrograms()],
  transform: { target: "node20.19", define: { DOCPROC_VERSION: JSON.stringify(version) } },
  output: {
    dir: "dist",
    // Node's loader of ES modules takes milliseconds before it has loaded anything; the one of CommonJS is there.
    format: "cjs",
    dynamicImportInCjs: false,
    strict: true,
    codeSplitting: {
      // A file is found, read and compiled on its own, so what is loaded together is one, with all that it imports.
      groups: [
        { name: "errors", test: /\/src\/errors\.ts$/ },
        { name: "program", test: /\/src\/(program|commands\/(command|filters))\.ts$/ },
      ],
    },
    // Names stay readable in the stack traces of -v.
    minify: {
      compress: { keepNames: { function: true, class: true } },
      mangle: false,
      codegen: { removeWhitespace: true },
    },
    comments: false,
  },
});
const licenses = "THIRD-PARTY-LICENSES.txt";
await writeFile(`dist/${licenses}`, await licensesOf(output.flatMap((chunk) => chunk.moduleIds ?? [])));
// Unlike what it is made from.
await writeFile("dist/package.json", `${JSON.stringify({ type: "commonjs" })}\n`);
await chmod("dist/docproc.js", 0o755);

// Afterwards, not before: whoever runs the program meanwhile finds all of it.
const made = new Set([licenses, "package.json", ...output.map(({ fileName }) => fileName)]);
for (const file of await readdir("dist")) if (!made.has(file)) await rm(`dist/${file}`, { recursive: true });

/** commander can run subcommands that are programs of their own. docproc has none, and what starts them takes long to load. */
function withoutOtherPrograms() {
  const nothing = "\0nothing";
  return {
    name: "without-other-programs",
    resolveId: (id, importer) =>
      id === "node:child_process" && importer?.includes("/commander/") ? nothing : undefined,
    load: (id) => (id === nothing ? "export {}" : undefined),
  };
}

/** The licences of the bundled packages ask to go with every copy. */
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
