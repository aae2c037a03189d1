/**
 * What each kind of input becomes in C: its arguments, and how they are written.
 * @module
 */
import { utf8 } from "../../codec/bytes.ts";
import { checkBytes, checkSize, checkTemplate, checkUlong } from "../../cryptoki/checks.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Attribute, InitArgs, Mechanism, Ulong } from "../../cryptoki/port.ts";
import { CALL_FLAGS } from "../../spec/flags.ts";
import type { InputKind } from "../../spec/functions.ts";
import { spaceFor } from "./arena.ts";
import { INIT_ARGS, TRIPLE, ULONG } from "./layout.ts";
import { changedBytes, changedParameter, parameterSpace, putMechanism } from "./parameters.ts";
import type { PlanBuilder } from "./plan.ts";
import { putTemplate, templateSpace } from "./values.ts";

/** Adds an input to a plan; the name is the one of its row. */
export type AddInput = (b: PlanBuilder, name: string) => void;

const LABEL = 32;
const BLANK = 0x20;

/** Pointer and length; null is NULL and 0, an empty value is a pointer to nothing. */
const bytesInput: AddInput = (b, name) => {
  const arg = b.argument("uintptr_t");
  b.argument("ulong");
  b.steps.push({
    name,
    space(value: Uint8Array | null) {
      if (value === null) return 0;
      checkBytes(b.fn, name, value);
      return spaceFor(value.length);
    },
    write(arena, argv, value: Uint8Array | null) {
      argv[arg] = value === null ? 0 : arena.address + arena.put(value);
      argv[arg + 1] = value === null ? 0 : value.length;
    },
  });
};

const mechanismInput: AddInput = (b, name) => {
  const { arg, at } = b.pointerTo(TRIPLE.size);
  b.steps.push({
    name,
    space: (value: Mechanism | null) => (value === null ? 0 : parameterSpace(b.fn, value)),
    write(arena, argv, value: Mechanism | null) {
      argv[arg] = value === null ? 0 : arena.address + at;
      if (value !== null) putMechanism(arena, at, value);
    },
  });
  b.reads.push((arena, reply, values) => {
    const value = values[name] as Mechanism | null;
    const changed = value?.parameter === undefined ? undefined : changedParameter(arena, at, value);
    if (changed !== undefined) reply.parameter = changed;
  });
};

/** How every kind of input is added, but for `count` and `requests`, which their functions add themselves. */
export const INPUTS: Readonly<Record<Exclude<InputKind, "count" | "requests">, AddInput>> = {
  ulong(b, name) {
    const arg = b.argument("ulong");
    b.steps.push({
      name,
      write(_arena, argv, value: Ulong) {
        checkUlong(b.fn, name, value);
        argv[arg] = value;
      },
    });
  },

  bool(b, name) {
    const arg = b.argument("uint8_t");
    b.steps.push({
      name,
      write(_arena, argv, value: boolean) {
        argv[arg] = value ? 1 : 0;
      },
    });
  },

  bytes: bytesInput,
  pin: bytesInput,
  username: bytesInput,

  /** 32 bytes, blank-padded, not terminated (C_InitToken). */
  label(b, name) {
    const { arg, at } = b.pointerTo(LABEL);
    b.steps.push({
      name,
      write(arena, argv, value: Uint8Array) {
        checkBytes(b.fn, name, value);
        if (value.length > LABEL) {
          throw new CryptokiError(b.fn, "CKR_ARGUMENTS_BAD", `a label of ${value.length} bytes; it may have ${LABEL}`);
        }
        arena.bytes.fill(BLANK, at, at + LABEL);
        arena.bytes.set(value, at);
        argv[arg] = arena.address + at;
      },
    });
  },

  mechanism: mechanismInput,
  mechanismOrNull: mechanismInput,

  template(b, name) {
    const arg = b.argument("uintptr_t");
    b.argument("ulong");
    b.steps.push({
      name,
      space(value: readonly Attribute[]) {
        checkTemplate(b.fn, name, value);
        return templateSpace(value);
      },
      write(arena, argv, value: readonly Attribute[]) {
        argv[arg] = arena.address + putTemplate(arena, value);
        argv[arg + 1] = value.length;
      },
    });
  },

  /** The output's pointer, and a pointer to its length; the output is read here too. */
  room(b, name) {
    const arg = b.argument("uintptr_t");
    const length = b.pointerTo(ULONG);
    b.hasRoom = true;
    // Before every other step, so that the room begins where the fixed part ends.
    b.steps.unshift({
      name,
      space(room: number | null) {
        if (room === null) return 0;
        checkSize(b.fn, name, room);
        return spaceFor(room);
      },
      write(arena, argv, room: number | null) {
        argv[arg] = room === null ? 0 : arena.address + arena.take(room);
        argv[length.arg] = arena.address + length.at;
        arena.setUlong(length.at, room ?? 0);
      },
    });
    b.reads.push((arena, reply, values, fits) => {
      const room = values[name] as number | null;
      const answered = arena.ulong(length.at);
      if (typeof answered === "bigint" || (fits && room !== null && answered > room)) {
        throw new CryptokiError(
          b.fn,
          "CKR_GENERAL_ERROR",
          `the module says ${answered} bytes where ${room} were offered`,
        );
      }
      reply.output = fits && room !== null ? { bytes: arena.copy(b.fixed, answered) } : { needed: answered };
    });
  },

  /** A message's parameter, which the module may change. It lies behind the room. */
  parameter(b, name) {
    bytesInput(b, name);
    const step = b.steps.pop()!;
    const roomFirst = b.steps.findIndex((other) => other.name === "room") + 1;
    b.steps.splice(roomFirst, 0, step);
    b.reads.push((arena, reply, values) => {
      const room = (values.room ?? null) as number | null;
      const at = b.fixed + (room === null ? 0 : spaceFor(room));
      const changed = changedBytes(arena, at, values[name] as Uint8Array);
      if (changed !== undefined) reply.parameter = changed;
    });
  },

  initArgs(b, name) {
    const { arg, at } = b.pointerTo(INIT_ARGS.size);
    b.steps.push({
      name,
      space: ({ reserved }: InitArgs) => (reserved === undefined ? 0 : spaceFor(utf8(reserved).length + 1)),
      write(arena, argv, { reserved }: InitArgs) {
        argv[arg] = arena.address + at;
        // Modules are called from several threads; with NULL arguments p11-kit's client refuses (CKR_CANT_LOCK).
        arena.setUlong(at + INIT_ARGS.flags, CALL_FLAGS.CKF_OS_LOCKING_OK[0]);
        if (reserved !== undefined) arena.setPointer(at + INIT_ARGS.reserved, arena.put(utf8(`${reserved}\0`)));
      },
    });
  },

  null(b) {
    b.argument("uintptr_t");
  },
};
