/**
 * Texts of somebody else's among ours.
 * @module
 */

/** Characters that a terminal obeys instead of showing: controls, and those that turn the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A text of somebody else's (a label, a name) on one line, such characters as `\u001b`. */
export function visible(text: string): string {
  return text.replace(OBEYED, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
