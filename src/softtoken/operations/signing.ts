/**
 * Signing, verifying and both with recovery. PKCS#11 3.1, 5.13 and 5.14; 3.2, C_VerifySignature.
 * @module
 */
import type { Args, Reply } from "../../cryptoki/port.ts";
import type { Application } from "../application.ts";
import { attr } from "../codes.ts";
import {
  intoRoom,
  intoRoomExactly,
  mustBeAuthenticated,
  mustBeSinglePart,
  streamOf,
  type VerifySignatureWork,
  type VerifyWork,
} from "./state.ts";
import { ableTo, keyFor } from "./usage.ts";

type InitArgs = Args<"C_SignInit">;
type SignKind = "sign" | "verify" | "signRecover" | "verifyRecover";

/** Starts one of the four; a null mechanism cancels it (5.13.1). */
export function init(app: Application, kind: SignKind, args: InitArgs): Record<never, never> {
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
  session.operations.begin(kind, definition[kind]!(key, mechanism) as never, mechanism.type, awaitsLogin);
  return {};
}

export function sign(app: Application, args: Args<"C_Sign">): Reply<"C_Sign"> {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish("sign", (active) => {
    mustBeSinglePart(active);
    return intoRoom(args.room, active.work.length, () => {
      mustBeAuthenticated(active);
      return active.work.once(args.data);
    });
  });
  return { output };
}

export function signUpdate(app: Application, args: Args<"C_SignUpdate">): Reply<"C_SignUpdate"> {
  const { operations } = app.ongoing(args.session);
  operations.step("sign", (active) => streamOf(active).update(args.data));
  return {};
}

export function signFinal(app: Application, args: Args<"C_SignFinal">): Reply<"C_SignFinal"> {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish("sign", (active) => {
    const stream = streamOf(active);
    return intoRoom(args.room, active.work.length, () => stream.final());
  });
  return { output };
}

export function verify(app: Application, args: Args<"C_Verify">): Reply<"C_Verify"> {
  const { operations } = app.ongoing(args.session);
  operations.step("verify", (active) => {
    mustBeSinglePart(active);
    mustBeAuthenticated(active);
    active.work.once(args.data, args.signature);
  });
  operations.end("verify");
  return {};
}

export function verifyUpdate(app: Application, args: Args<"C_VerifyUpdate">): Reply<"C_VerifyUpdate"> {
  const { operations } = app.ongoing(args.session);
  operations.step("verify", (active) => streamOf(active).update(args.data));
  return {};
}

export function verifyFinal(app: Application, args: Args<"C_VerifyFinal">): Reply<"C_VerifyFinal"> {
  const { operations } = app.ongoing(args.session);
  operations.step("verify", (active) => streamOf(active).final(args.signature));
  operations.end("verify");
  return {};
}

/** 3.2, 5.14.5: the signature comes first, the data after it. */
export function verifySignatureInit(
  app: Application,
  args: Args<"C_VerifySignatureInit">,
): Reply<"C_VerifySignatureInit"> {
  const session = app.session(args.session);
  const { mechanism } = args;
  session.operations.mustBeFree("verifySignature");
  const definition = ableTo(mechanism, "verify");
  const key = keyFor(app, session, args.key, "verify", mechanism, definition);
  const work = withSignature(definition.verify(key, mechanism), Uint8Array.from(args.signature));
  session.operations.begin("verifySignature", work, mechanism.type, key.flag(attr.ALWAYS_AUTHENTICATE));
  return {};
}

function withSignature(work: VerifyWork, signature: Uint8Array): VerifySignatureWork {
  const start = work.start?.bind(work);
  return {
    once: (data) => work.once(data, signature),
    start:
      start &&
      (() => {
        const stream = start();
        return {
          update: (data) => stream.update(data),
          final: () => stream.final(signature),
          free: () => stream.free?.(),
        };
      }),
  };
}

export function verifySignature(app: Application, args: Args<"C_VerifySignature">): Reply<"C_VerifySignature"> {
  const { operations } = app.ongoing(args.session);
  operations.step("verifySignature", (active) => {
    mustBeSinglePart(active);
    mustBeAuthenticated(active);
    active.work.once(args.data);
  });
  operations.end("verifySignature");
  return {};
}

export function verifySignatureUpdate(
  app: Application,
  args: Args<"C_VerifySignatureUpdate">,
): Reply<"C_VerifySignatureUpdate"> {
  const { operations } = app.ongoing(args.session);
  operations.step("verifySignature", (active) => streamOf(active).update(args.data));
  return {};
}

export function verifySignatureFinal(
  app: Application,
  args: Args<"C_VerifySignatureFinal">,
): Reply<"C_VerifySignatureFinal"> {
  const { operations } = app.ongoing(args.session);
  operations.step("verifySignature", (active) => streamOf(active).final());
  operations.end("verifySignature");
  return {};
}

export function signRecover(app: Application, args: Args<"C_SignRecover">): Reply<"C_SignRecover"> {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish("signRecover", (active) =>
    intoRoom(args.room, active.work.length, () => {
      mustBeAuthenticated(active);
      return active.work.once(args.data);
    }),
  );
  return { output };
}

export function verifyRecover(app: Application, args: Args<"C_VerifyRecover">): Reply<"C_VerifyRecover"> {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish("verifyRecover", (active) =>
    intoRoomExactly(args.room, active.work.length, () => active.work.once(args.signature)),
  );
  return { output };
}
