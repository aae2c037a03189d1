/**
 * Encryption and decryption, alone and together with a digest or a signature. PKCS#11 3.1, 5.9, 5.10, 5.15 and 5.16.
 * @module
 */
import type { Args, Output, Reply, Ulong } from "../../cryptoki/port.ts";
import type { Application } from "../application.ts";
import { attr } from "../codes.ts";
import {
  type Active,
  intoRoom,
  intoRoomExactly,
  mustBeAuthenticated,
  mustBeSinglePart,
  type OperationKind,
  type Operations,
  streamOf,
} from "./state.ts";
import { ableTo, keyFor } from "./usage.ts";

type CipherKind = "encrypt" | "decrypt";

export function init(app: Application, kind: CipherKind, args: Args<"C_EncryptInit">): Record<never, never> {
  const session = app.session(args.session);
  const { mechanism } = args;
  if (mechanism === null) {
    session.operations.end(kind);
    return {};
  }
  session.operations.mustBeFree(kind);
  const definition = ableTo(mechanism, kind);
  const key = keyFor(app, session, args.key, kind, mechanism, definition);
  const awaitsLogin = key.flag(attr.ALWAYS_AUTHENTICATE);
  session.operations.begin(kind, definition[kind](key, mechanism), mechanism.type, awaitsLogin);
  return {};
}

interface DataArgs {
  readonly session: Ulong;
  readonly data: Uint8Array;
  readonly room: number | null;
}

/** A single part. Its output may be shorter than its bound, so it is worked out before it is known not to fit. */
export function whole(app: Application, kind: CipherKind, args: DataArgs): { output: Output } {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish(kind, (active) => {
    mustBeSinglePart(active);
    return intoRoomExactly(args.room, active.work.bound(args.data.length), () => {
      mustBeAuthenticated(active);
      return active.work.once(args.data);
    });
  });
  return { output };
}

function updateInto(active: Active<CipherKind>, data: Uint8Array, room: number | null): Output {
  const stream = streamOf(active);
  return intoRoom(room, stream.updateLength(data.length), () => stream.update(data));
}

export function update(app: Application, kind: CipherKind, args: DataArgs): { output: Output } {
  const { operations } = app.ongoing(args.session);
  return { output: operations.step(kind, (active) => updateInto(active, args.data, args.room)) };
}

export function final(
  app: Application,
  kind: CipherKind,
  args: { readonly session: Ulong; readonly room: number | null },
): { output: Output } {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish(kind, (active) => {
    const stream = streamOf(active);
    return intoRoomExactly(args.room, stream.finalBound(), () => {
      // The end can be worked out once only; it waits for a buffer that is large enough.
      active.finished ??= stream.final();
      return active.finished;
    });
  });
  return { output };
}

/** Both operations go on, or an error ends both. */
function together<T>(operations: Operations, kinds: readonly [OperationKind, OperationKind], work: () => T): T {
  for (const kind of kinds) operations.get(kind);
  try {
    return work();
  } catch (error) {
    for (const kind of kinds) operations.end(kind);
    throw error;
  }
}

/** Takes data into the other operation if the output was given out, and not if it was only asked for. */
function passedOn(output: Output, take: (bytes: Uint8Array) => void): { output: Output } {
  if ("bytes" in output) take(output.bytes);
  return { output };
}

export function digestEncrypt(app: Application, args: DataArgs): Reply<"C_DigestEncryptUpdate"> {
  const { operations } = app.ongoing(args.session);
  return together(operations, ["digest", "encrypt"], () => {
    const output = updateInto(operations.get("encrypt"), args.data, args.room);
    return passedOn(output, () => updateDigest(operations, args.data));
  });
}

export function decryptDigest(app: Application, args: DataArgs): Reply<"C_DecryptDigestUpdate"> {
  const { operations } = app.ongoing(args.session);
  return together(operations, ["decrypt", "digest"], () => {
    const output = updateInto(operations.get("decrypt"), args.data, args.room);
    return passedOn(output, (plain) => updateDigest(operations, plain));
  });
}

function updateDigest(operations: Operations, data: Uint8Array): void {
  const active = operations.get("digest");
  active.isMultiPart = true;
  active.work.update(data);
}

export function signEncrypt(app: Application, args: DataArgs): Reply<"C_SignEncryptUpdate"> {
  const { operations } = app.ongoing(args.session);
  return together(operations, ["sign", "encrypt"], () => {
    const signing = streamOf(operations.get("sign"));
    const output = updateInto(operations.get("encrypt"), args.data, args.room);
    return passedOn(output, () => signing.update(args.data));
  });
}

export function decryptVerify(app: Application, args: DataArgs): Reply<"C_DecryptVerifyUpdate"> {
  const { operations } = app.ongoing(args.session);
  return together(operations, ["decrypt", "verify"], () => {
    const verifying = streamOf(operations.get("verify"));
    const output = updateInto(operations.get("decrypt"), args.data, args.room);
    return passedOn(output, (plain) => verifying.update(plain));
  });
}
