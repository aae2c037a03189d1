/**
 * A marshalling plan: how one function's arguments are laid out, and how its outputs are read.
 *
 * First in the arena is what has a fixed size (outputs, CK_MECHANISM, lengths), at offsets known beforehand, then the
 * room for an output, then everything of variable size. So outputs are read without any memory of the layout.
 * @module
 */

import type { Values } from "../../cryptoki/describe.ts";
import { describeCall } from "../../cryptoki/describe.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Awaitable, FunctionName, Ulong } from "../../cryptoki/port.ts";
import { CKR } from "../../spec/returns.ts";
import { type Arena, spaceFor } from "./arena.ts";
import type { Calling, CFunction, CType } from "./calling.ts";

/** A reply being put together. */
export type AnyReply = Record<string, unknown>;

/** How one function is called. */
export interface Plan {
  /** The C prototype's arguments, in order. */
  readonly types: readonly CType[];
  /** @throws CryptokiError for every return value but CKR_OK, and CKR_BUFFER_TOO_SMALL of an output */
  run(calling: Calling, cFunction: CFunction, values: Values): Awaitable<AnyReply>;
}

/** Writes one input. */
export interface Step {
  readonly name: string;
  /** How much space it needs beyond the fixed part; absent for none. */
  space?(value: never): number;
  write(arena: Arena, argv: Ulong[], value: never): void;
}

/** Reads one output; with CKR_BUFFER_TOO_SMALL, `fits` is false. */
export type Read = (arena: Arena, reply: AnyReply, values: Values, fits: boolean) => void;

const OK = CKR.CKR_OK[0];
const TOO_SMALL = CKR.CKR_BUFFER_TOO_SMALL[0];

function arenaFor(fn: FunctionName, calling: Calling, space: number): Arena {
  try {
    return calling.arena(space);
  } catch (error) {
    throw new CryptokiError(fn, "CKR_HOST_MEMORY", `${space} bytes`, { cause: error });
  }
}

/** Collects a plan while a row is walked. */
export class PlanBuilder {
  readonly fn: FunctionName;
  readonly types: CType[] = [];
  readonly steps: Step[] = [];
  readonly reads: Read[] = [];
  readonly #argv: Ulong[] = [];
  #fixed = 0;
  /** Whether CKR_BUFFER_TOO_SMALL is an answer of this function. */
  hasRoom = false;

  constructor(fn: FunctionName) {
    this.fn = fn;
  }

  /** Declares one C argument, NULL or 0 unless a step writes it, and answers its place. */
  argument(type: CType): number {
    this.types.push(type);
    return this.#argv.push(0) - 1;
  }

  /** Declares a pointer to a part of fixed size, and answers the pointer's place and the part's offset. */
  pointerTo(size: number): { arg: number; at: number } {
    const at = this.#fixed;
    this.#fixed += spaceFor(size);
    return { arg: this.argument("uintptr_t"), at };
  }

  /** The end of the fixed part, once every part is declared: where the room begins. */
  get fixed(): number {
    return this.#fixed;
  }

  build(): Plan {
    const { fn, steps, reads, types, hasRoom } = this;
    const argv = this.#argv;
    const fixed = this.#fixed;
    const sized = steps.filter((step) => step.space !== undefined);

    function finish(calling: Calling, arena: Arena, values: Values, rv: number): AnyReply {
      try {
        if (rv !== OK && !(hasRoom && rv === TOO_SMALL)) throw new CryptokiError(fn, rv, describeCall(fn, values));
        const reply: AnyReply = {};
        for (const read of reads) read(arena, reply, values, rv === OK);
        return reply;
      } finally {
        if (!calling.keepsArena) arena.wipe(fixed);
      }
    }

    return {
      types,
      run(calling, cFunction, values) {
        let space = fixed;
        for (const { name, space: spaceOf } of sized) space += spaceOf!(values[name] as never);
        const arena = arenaFor(fn, calling, space);
        arena.begin(fixed);
        try {
          for (const { name, write } of steps) write(arena, argv, values[name] as never);
        } catch (error) {
          arena.wipe(fixed);
          throw error;
        }
        const rv = calling.invoke(cFunction, argv);
        return typeof rv === "number"
          ? finish(calling, arena, values, rv)
          : rv.then((code) => finish(calling, arena, values, code));
      },
    };
  }
}
