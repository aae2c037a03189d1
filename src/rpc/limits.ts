/**
 * What is refused before memory is taken for it.
 * @module
 */

/** A frame's body, in bytes. */
export const MAX_BODY = 16 * 1024 * 1024;

/** A frame's options, in bytes. */
export const MAX_OPTIONS = 4096;

/** Attributes within attributes; p11-kit refuses the same since 0.26.3. */
export const MAX_NESTING = 8;

/** How many numbers, such as handles, one answer has. */
export const MAX_NUMBERS = 65_536;
