/**
 * C0 and C1 controls, DEL, soft hyphen, zero-width and direction characters, line and paragraph separators,
 * tags and lone surrogates: what could move the cursor, hide text, or make a name read as another one.
 */
const unsafe =
  /[\p{Cc}\p{Cs}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u001b": "\\e", "\0": "\\0" };

/** Text of somebody else, safe to print on a terminal. Emoji joined by U+200D stay whole. */
export function display(text: string): string {
  return text.replace(unsafe, (character, index: number) => {
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
