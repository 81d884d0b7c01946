/** Globs for names, paths and content types. */
import picomatch from "picomatch";
import { DocprocError } from "./errors.ts";

const maxGlobLength = 1024;
/** Stars that one name can meet. Each multiplies the time that a hostile name can take by the name's length. */
const maxStars = 4;

/**
 * Extended globs are off: nested ones take exponential time (CVE-2024-4067 and its like).
 * @throws USAGE for a glob that is empty or too long
 */
export function globMatcher(glob: string): (text: string) => boolean {
  if (glob === "" || glob.length > maxGlobLength) {
    throw new DocprocError("USAGE", `A glob has 1 to ${maxGlobLength} characters.`, { hint: "For example: '*.pdf'" });
  }
  if (mostStars(glob) > maxStars) {
    throw new DocprocError("USAGE", `The glob ${JSON.stringify(glob)} has more than ${maxStars} stars.`, {
      hint: "Say the same with fewer.",
    });
  }
  // To picomatch, parentheses and bars are regular expressions; in names like `copy (1).pdf` they are characters.
  const literal = glob.replace(/\\[\s\S]|[()|]/g, (found) => (found.length > 1 ? found : `\\${found}`));
  return picomatch(literal, { dot: true, noextglob: true, nonegate: true });
}

/** The stars that one name can meet: of the alternatives in braces, those of the one that has most. */
function mostStars(glob: string): number {
  const open = [{ most: 0, here: 0 }];
  const top = () => open.at(-1) ?? { most: 0, here: 0 };
  const close = () => {
    const { most, here } = open.pop() ?? top();
    top().here += Math.max(most, here);
  };
  // Stars in a row, as in `**`, are one.
  for (const character of glob.replace(/\*+/g, "*")) {
    if (character === "*") top().here += 1;
    else if (character === "{") open.push({ most: 0, here: 0 });
    else if (character === "}" && open.length > 1) close();
    else if (character === "," && open.length > 1) {
      top().most = Math.max(top().most, top().here);
      top().here = 0;
    }
  }
  while (open.length > 1) close();
  return top().here;
}
