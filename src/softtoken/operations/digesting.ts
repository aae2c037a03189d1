/**
 * Digests. PKCS#11 3.1, 5.12.
 * @module
 */
import type { Args, Reply } from "../../cryptoki/port.ts";
import type { Application } from "../application.ts";
import { attr, cls } from "../codes.ts";
import { refuse } from "../refusal.ts";
import { intoRoom, mustBeSinglePart } from "./state.ts";
import { ableTo, getKey } from "./usage.ts";

export function digestInit(app: Application, args: Args<"C_DigestInit">): Reply<"C_DigestInit"> {
  const { operations } = app.session(args.session);
  if (args.mechanism === null) {
    operations.end("digest");
    return {};
  }
  operations.mustBeFree("digest");
  operations.begin("digest", ableTo(args.mechanism, "digest").digest(args.mechanism), args.mechanism.type);
  return {};
}

export function digest(app: Application, args: Args<"C_Digest">): Reply<"C_Digest"> {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish("digest", (active) => {
    mustBeSinglePart(active);
    return intoRoom(args.room, active.work.length, () => {
      active.work.update(args.data);
      return active.work.final();
    });
  });
  return { output };
}

export function digestUpdate(app: Application, args: Args<"C_DigestUpdate">): Reply<"C_DigestUpdate"> {
  const { operations } = app.ongoing(args.session);
  operations.step("digest", (active) => {
    active.isMultiPart = true;
    active.work.update(args.data);
  });
  return {};
}

/** 5.12.4: the value of a secret key. */
export function digestKey(app: Application, args: Args<"C_DigestKey">): Reply<"C_DigestKey"> {
  const session = app.session(args.session);
  session.operations.step("digest", (active) => {
    const key = getKey(app, session, args.key);
    if (key.class !== cls.SECRET_KEY) refuse("CKR_KEY_INDIGESTIBLE", "only a secret key's value is digested");
    const value = key.secret(attr.VALUE) ?? refuse("CKR_KEY_INDIGESTIBLE");
    active.isMultiPart = true;
    active.work.update(value);
    value.fill(0);
  });
  return {};
}

export function digestFinal(app: Application, args: Args<"C_DigestFinal">): Reply<"C_DigestFinal"> {
  const { operations } = app.ongoing(args.session);
  const output = operations.finish("digest", ({ work }) => intoRoom(args.room, work.length, () => work.final()));
  return { output };
}
