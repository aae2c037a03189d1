/**
 * What the built-in token says of itself. Every such text and number stands here.
 * @module
 */

export const IDENTITY = {
  manufacturer: "Keywright",
  library: "Keywright built-in token",
  model: "softtoken",
  slot: "Keywright built-in token slot",
  cryptokiVersion: { major: 3, minor: 2 },
  libraryVersion: { major: 0, minor: 1 },
  hardwareVersion: { major: 0, minor: 0 },
  firmwareVersion: { major: 0, minor: 1 },
} as const;

/** PIN length in bytes; any bytes are taken. */
export const PIN_LENGTH = { least: 4, most: 255 } as const;

/** How many wrong PINs in a row lock the user's and the SO's PIN, unless the options say otherwise. */
export const PIN_TRIES = 10;
