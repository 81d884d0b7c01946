/** How the sources become files that Node runs: for dist/, see build.mjs, and for one run of the sources, see dev.mjs. */
import { readFile } from "node:fs/promises";
import { build } from "rolldown";

const { version, dependencies } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));

export { version };

export const options = {
  cwd: import.meta.dirname,
  platform: "node",
  // ES modules first, so that only the used parts of the SDK are bundled.
  resolve: { mainFields: ["module", "main"] },
  // Real dependencies stay packages. cosmiconfig could load TypeScript, which docproc never asks for.
  external: [...Object.keys(dependencies), "typescript"],
};

/** Bundles the program and the library: a small start-up file, and chunks for what only some commands need. */
export async function bundle({ dir, shownVersion = version, minify }) {
  const { output } = await build({
    ...options,
    input: { docproc: "bin/docproc.ts", library: "bin/library.ts", "digest-thread": "src/core/digest-thread.js" },
    plugins: [withoutOtherPrograms()],
    transform: {
      target: "node20.19",
      define: {
        DOCPROC_VERSION: JSON.stringify(shownVersion),
        // Documented switch: silences the SDK's warning that it will need Node 22, which users cannot act on.
        "process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED": '"true"',
      },
    },
    output: {
      dir,
      // Node's ES module loader costs milliseconds at every start; the CommonJS loader does not.
      format: "cjs",
      dynamicImportInCjs: false,
      strict: true,
      codeSplitting: {
        // Every file costs time to find, read and compile, so modules that load together share one.
        groups: [
          // Shared by the library and the program's start-up.
          {
            name: "errors",
            test: /\/src\/(core\/errors|cli\/output\/runner-commands)\.ts$|\/node_modules\/env-paths\//,
          },
          { name: "program", test: /\/src\/cli\/(program|commands\/(command|filter))\.ts$/ },
        ],
      },
      minify,
      comments: false,
      // For src/cli/output/traces.ts. The repository has the lines that it names.
      sourcemap: true,
      sourcemapExcludeSources: true,
    },
  });
  return output;
}

/** Drops commander's support for subcommands in other programs: docproc has none, and child_process loads slowly. */
function withoutOtherPrograms() {
  const nothing = "\0nothing";
  return {
    name: "without-other-programs",
    resolveId: (id, importer) =>
      id === "node:child_process" && importer?.includes("/commander/") ? nothing : undefined,
    load: (id) => (id === nothing ? "export {}" : undefined),
  };
}
