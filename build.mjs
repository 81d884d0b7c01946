/** Bundles the program into dist/: one small file to start with, and what only some commands need in chunks. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { build } from "esbuild";

const { version, dependencies } = JSON.parse(await readFile("package.json", "utf8"));

const { metafile } = await build({
  entryPoints: ["bin/docproc.ts"],
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  // ES modules first: of the SDK only what is used ends up in the bundle.
  mainFields: ["module", "main"],
  // Real dependencies stay packages. cosmiconfig could load TypeScript files, which docproc never asks for.
  external: [...Object.keys(dependencies), "typescript"],
  define: { DOCPROC_VERSION: JSON.stringify(version) },
  // CommonJS packages in the bundle require Node's own modules.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  // Names stay readable in the stack traces of -v.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  metafile: true,
});
const licenses = "THIRD-PARTY-LICENSES.txt";
await writeFile(`dist/${licenses}`, await licensesOf(Object.keys(metafile.inputs)));

// Afterwards, not before: whoever runs the program meanwhile finds all of it.
const made = new Set([licenses, ...Object.keys(metafile.outputs).map((output) => basename(output))]);
for (const file of await readdir("dist")) if (!made.has(file)) await rm(`dist/${file}`, { recursive: true });

/** The licences of the bundled packages ask to go with every copy. */
async function licensesOf(inputs) {
  const folders = inputs.map((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]);
  const texts = [];
  for (const folder of [...new Set(folders.filter(Boolean))].sort()) {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const files = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license", "license.md", "LICENCE"];
    const found = await Promise.all(files.map((file) => readFile(`${folder}/${file}`, "utf8").catch(() => "")));
    texts.push(`${name} ${version} (${license})\n\n${found.find(Boolean) ?? ""}`.trim());
  }
  return `${texts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
