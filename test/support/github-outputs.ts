/** The outputs of a step of GitHub Actions. */

/** As the runner reads the file: a name, a delimiter, lines up to the delimiter. */
export function parseOutputs(text: string): Record<string, string> {
  const values: Record<string, string> = {};
  const lines = text.split("\n");
  while (lines.length > 1) {
    const [name = "", end = ""] = lines.shift()?.split("<<") ?? [];
    values[name] = lines.splice(0, lines.indexOf(end)).join("\n");
    lines.shift();
  }
  return values;
}
