/** What a CI runner takes for a command wherever it is printed. */

/**
 * The runners of GitHub and Azure obey `##[command]` and `##vso[command]`, wherever in a line they stand and whoever
 * chose the name that they are part of: https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
 * @param hash what stands for the first character of one
 */
export function withoutCommands(text: string, hash: string): string {
  return text.includes("##") ? text.replace(/#(?=#(?:vso)?\[)/gi, () => hash) : text;
}
