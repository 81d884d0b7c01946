import { DocprocError } from "../../core/errors.ts";
import type { ShellName } from "../completion/shells.ts";
import { writeAll } from "../output/reporter.ts";
import { completionWord, defineCommand } from "./command.ts";

/** How to install each shell's script. */
const installations: Readonly<Record<ShellName, string>> = {
  bash: 'Add to ~/.bashrc: eval "$(docproc completion bash)"',
  zsh: 'Add to ~/.zshrc, after compinit: eval "$(docproc completion zsh)"',
  fish: "Run: docproc completion fish > ~/.config/fish/completions/docproc.fish",
  powershell: "Add to $PROFILE: docproc completion powershell | Out-String | Invoke-Expression",
};

const shells = Object.keys(installations) as ShellName[];

export const completion = defineCommand({
  examples: [
    ["Print the script for bash, to load in ~/.bashrc", "completion bash"],
    ["Print the script for zsh, to load in ~/.zshrc after compinit", "completion zsh"],
    ["Install it once for fish", "completion fish > ~/.config/fish/completions/docproc.fish"],
    ["Load it for PowerShell, in $PROFILE", "completion powershell | Out-String | Invoke-Expression"],
  ],
  configure(command) {
    return command.argument(`<${shells.join("|")}>`, "shell that loads the script");
  },
  parse([shell], flags) {
    const known = shells.find((name) => name === shell);
    if (known === undefined) {
      throw new DocprocError("USAGE", `Completion does not support the shell ${JSON.stringify(shell ?? "")}.`, {
        hint: `Choose one of ${shells.join(", ")}.`,
      });
    }
    if (flags.json || flags.ndjson || flags.quiet) {
      throw new DocprocError("USAGE", "completion prints a shell script, in one form only.", {
        hint: "Remove --json, --ndjson or -q.",
      });
    }
    return { shell: known };
  },
  async run({ host }, { shell }) {
    const { completionScript } = await import("../completion/shells.ts");
    await writeAll(host.stdout, completionScript(shell, [completionWord, shell, "--"]));
    return { envelope: {}, text: () => "", note: host.stdout.isTTY ? installations[shell] : undefined };
  },
});
