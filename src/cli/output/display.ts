import { withoutCommands } from "./runner-commands.ts";

/**
 * Characters that could move the cursor, hide text, or make one name look like another: control and format characters
 * (bidi among them), line and paragraph separators, everything invisible, and lone surrogates.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u001b": "\\e", "\0": "\\0" };

/** Makes foreign text safe to print on a terminal. Emoji stay whole: U+200D between two, U+FE0F after one. */
export function display(text: string): string {
  return withoutCommands(text, "\\u{23}").replace(unsafe, (character, index: number) => {
    if (character === "\ufe0e" || character === "\ufe0f") return character;
    if (character === "\u200d" && joinsEmoji(text, index)) return character;
    return short[character] ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

function joinsEmoji(text: string, index: number): boolean {
  return (
    /\p{Extended_Pictographic}(\ufe0f|\p{Emoji_Modifier})?$/u.test(text.slice(0, index)) &&
    /^\p{Extended_Pictographic}/u.test(text.slice(index + 1))
  );
}
