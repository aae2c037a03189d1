/**
 * A decision not to touch a key.
 * @module
 */

/** Thrown within planning, and turned into a step that says why; never leaves it. */
export class Refusal extends Error {
  readonly hints: readonly string[];

  constructor(message: string, hints: readonly string[]) {
    super(message);
    this.name = "Refusal";
    this.hints = hints;
  }
}

/** A refusal that time mends: what it waits for has not come yet. */
export class Postponement extends Refusal {
  constructor(message: string) {
    super(message, []);
    this.name = "Postponement";
  }
}
