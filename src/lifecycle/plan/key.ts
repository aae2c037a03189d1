/**
 * The steps of one key.
 * @module
 */
import { archiveAt, finalIdentity } from "../identities.ts";
import type { SeenObject } from "../observation.ts";
import { checkCapability } from "./capability.ts";
import { certificateFacts, renewal } from "./certificate.ts";
import { certify } from "./certify.ts";
import type { KeyContext } from "./context.ts";
import { type Disentangled, disentangle, type KeyObjects } from "./disentangle.ts";
import { drift } from "./drift.ts";
import { isRemains, keyObjects, leftoversOf, unreadable } from "./key-objects.ts";
import { KeySteps } from "./key-steps.ts";
import { type KeyOutcome, stopped, unchanged } from "./outcome.ts";
import { isOutside, planOutside } from "./outside.ts";
import { Postponement, Refusal } from "./refusal.ts";
import { beginAgain, finish, remake, rotate } from "./rotation.ts";
import { countOf, FOLLOWS } from "./states.ts";

/** Plans one key. Pure. */
export function planKey(context: KeyContext): KeyOutcome {
  const { validStarting } = context.key;
  // Of what was decided before it stopped, nothing is done.
  const stop = (say: (steps: KeySteps) => void): KeyOutcome => {
    const only = noSteps(context);
    say(only);
    return stopped(only.steps);
  };
  if (validStarting !== undefined && context.now < new Date(`${validStarting}T00:00:00Z`)) {
    return stop((steps) => steps.wait(`nothing is made before ${validStarting}`));
  }
  try {
    return decide(context, noSteps(context));
  } catch (error) {
    if (error instanceof Postponement) return stop((steps) => steps.wait(error.message));
    if (error instanceof Refusal) return stop((steps) => steps.refuse(error.message, error.hints));
    throw error;
  }
}

function noSteps({ key, token, observation, now }: KeyContext): KeySteps {
  return new KeySteps(key, () => archiveAt(key, token.objects, observation.replacing[key.name], now));
}

function decide(context: KeyContext, steps: KeySteps): KeyOutcome {
  const { key, token } = context;
  const found = keyObjects(context);
  const leftovers = token.loggedIn ? leftoversOf(found, key.id) : [];
  // Of no use without the private key that was to be.
  if (leftovers.length > 0) steps.makeRoom(leftovers, "its private key is gone");
  const objects = leftovers.length > 0 ? { ...found, fresh: [] } : found;
  const count = (kind: SeenObject["class"]) => {
    const some = objects.final.filter((object) => object.class === kind);
    if (kind === "private" && !token.loggedIn) return "unreadable";
    return some.some((object) => object.unreadable !== undefined) ? "unreadable" : countOf(some);
  };
  const follows = FOLLOWS[`${count("private")} ${count("public")} ${count("certificate")}`];
  if (follows === "refuse-unreadable") throw unreadable(context, objects);
  if (objects.fresh.length > 0) return existing(context, steps, disentangle(objects), objects);
  switch (follows) {
    case "generate":
      return first(context, steps, objects);
    case "refuse-orphan":
      if (isRemains(objects)) return remake(context, steps, "an earlier run destroyed its key to make room", objects);
      throw new Refusal("its private key is not in the token, but a public key or certificate with its id is", [
        "if the key is lost, delete what is left of it: keywright key delete",
      ]);
    case "adopt":
    case "check":
    case "disentangle":
      return existing(context, steps, disentangle(objects), objects);
  }
}

/** A key where there was none: made under its final identity at once, so that a run that dies is completed. */
function first(context: KeyContext, steps: KeySteps, { archived, replacement }: KeyObjects): KeyOutcome {
  const identity = finalIdentity(context.key);
  checkCapability(context.key, context.token);
  steps.generate(identity, "it does not exist");
  const isFirst = archived.length === 0 && replacement === undefined;
  return certify(context, steps, { action: "issue", identity, reason: "it is new", newKey: true, isFirst });
}

/** A key that is there: finish what was begun, compare, renew, publish. */
function existing(context: KeyContext, steps: KeySteps, found: Disentangled, objects: KeyObjects): KeyOutcome {
  const { key } = context;
  if (found.refuse !== undefined) {
    throw new Refusal(found.refuse, [
      `tell them apart: keywright key list ${key.token}`,
      `delete the one that is not wanted: keywright key delete ${key.name} --fingerprint …, or by its URI`,
    ]);
  }
  const { privateKey } = found;
  if (privateKey === undefined)
    throw new Refusal("what is left of its replacement has no private key", [
      `see what is there: keywright key list ${key.token}`,
    ]);
  const differences = drift(key, privateKey);
  const isPrepared = objects.fresh.includes(privateKey);
  if (differences.length > 0 && !context.rotate) {
    const what = isPrepared ? "the replacement that an earlier run prepared is" : "it is";
    throw new Refusal(`${what} not as declared: ${differences.join("; ")}`, [
      `to replace it by a new key: keywright apply --rotate ${key.name}`,
    ]);
  }
  if (differences.length > 0 && isPrepared) return beginAgain(context, steps, objects);
  if (found.promote.length > 0) return finish(context, steps, found, objects);
  if (context.rotate) return rotate(context, steps, "it was asked for", found, objects);
  return current(context, steps, found, objects);
}

/** A key that stands under its identity alone, or with what it replaced. */
function current(context: KeyContext, steps: KeySteps, found: Disentangled, objects: KeyObjects): KeyOutcome {
  const { key, issuer, now } = context;
  const { certificate: declared } = key;
  steps.archive(found.archive);
  if (declared === undefined) return keep(context, steps, undefined, objects);
  if (isOutside(key)) {
    const outcome = planOutside(context, steps, found, objects.archived);
    if (outcome === undefined) return keep(context, steps, found.certificate, objects);
    return "rotate" in outcome ? rotate(context, steps, outcome.rotate, found, objects) : outcome;
  }
  const identity = finalIdentity(key);
  const { certificate, spki } = found;
  if (certificate === undefined) {
    if (objects.final.some((object) => object.class === "certificate")) {
      throw new Refusal("the certificate with its id belongs to another key", [
        "delete it if it is not wanted: the key gets a new one",
      ]);
    }
    const reason = "the key has no certificate";
    return certify(context, steps, { action: "adopt", identity, reason, newKey: false, spki, isFirst: true });
  }
  const due = renewal(key, certificateFacts(certificate)!, issuer, now);
  if (due === undefined) return keep(context, steps, certificate, objects);
  if (due.byTime && declared.renewKey) return rotate(context, steps, due.reason, found, objects);
  const outcome = certify(context, steps, { action: "renew", identity, reason: due.reason, newKey: false, spki });
  steps.archive([certificate]);
  steps.retireReplaced(objects.archived);
  return outcome;
}

function keep(
  { key, now }: KeyContext,
  steps: KeySteps,
  certificate: SeenObject | undefined,
  { archived }: KeyObjects,
): KeyOutcome {
  const outcome = unchanged(key.name, steps.steps, certificateFacts(certificate));
  steps.retireReplaced(archived);
  if (steps.steps.length === 0) steps.keep(outcome.certificate?.notAfter, now);
  return outcome;
}
