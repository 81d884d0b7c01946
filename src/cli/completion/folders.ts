/** Completes paths folder by folder, as a shell does. */

/**
 * The paths as far as they are to be typed next: to the end, or to the first slash behind what all of them share. A
 * folder is offered only beside something else, since shells put a space behind the only suggestion.
 * @param paths that begin with `word`
 * @returns each once, and from which path it came
 */
export function folderByFolder(paths: readonly string[], word: string): Map<string, string> {
  const [first = "", ...others] = paths;
  let shared = word.length;
  for (let slash = word.length; ; ) {
    slash = first.indexOf("/", slash) + 1;
    const folder = first.slice(0, slash);
    if (slash === 0 || !others.every((path) => path.startsWith(folder))) break;
    shared = slash;
  }
  const shown = new Map<string, string>();
  for (const path of paths) {
    const slash = path.indexOf("/", shared);
    const text = slash === -1 ? path : path.slice(0, slash + 1);
    if (!shown.has(text)) shown.set(text, path);
  }
  return shown;
}
