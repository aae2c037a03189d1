/**
 * The steps by which another key takes a key's place: asked for, due, or begun by an earlier run.
 * @module
 */
import { familyNamed } from "../../families/families.ts";
import { finalIdentity, newIdentity } from "../identities.ts";
import type { SeenObject } from "../observation.ts";
import { checkCapability } from "./capability.ts";
import { certificateFacts, renewal } from "./certificate.ts";
import { certify } from "./certify.ts";
import type { KeyContext } from "./context.ts";
import { type Disentangled, disentangle, type KeyObjects } from "./disentangle.ts";
import type { KeySteps } from "./key-steps.ts";
import { type KeyOutcome, unchanged } from "./outcome.ts";
import { isOutside, planReplacement, request } from "./outside.ts";
import { Refusal } from "./refusal.ts";

/**
 * A new key takes the place of the one that is there.
 * @param prepared what an earlier run made and is of no use
 */
export function rotate(
  context: KeyContext,
  steps: KeySteps,
  reason: string,
  found: Disentangled,
  objects: KeyObjects,
  prepared: readonly SeenObject[] = [],
): KeyOutcome {
  const { key, token } = context;
  const fixed = cannotRename(context, found);
  if (fixed !== undefined && key.retireOld !== "destroy") {
    throw new Refusal(`${fixed}, so the old one would be lost when it is replaced`, [
      "declare retireOld: destroy if that is what is wanted",
    ]);
  }
  if (fixed !== undefined && isOutside(key)) {
    throw new Refusal(`${fixed}, so there would be no certified key until the outside CA has answered`, [
      `if that is what is wanted, delete the key: keywright key delete ${key.name}`,
    ]);
  }
  checkCapability(key, token);
  if (found.certificate !== undefined) steps.ask("the hook may decline");
  if (prepared.length > 0) steps.makeRoom(prepared, "it is not as declared");
  if (fixed !== undefined) return remake(context, steps, reason, objects);
  const identity = newIdentity(key);
  steps.generate(identity, reason);
  if (isOutside(key)) {
    request(context, steps, identity, reason);
    return unchanged(key.name, steps.steps, certificateFacts(found.certificate));
  }
  const outcome = certify(context, steps, { action: "issue", identity, reason, newKey: true });
  steps.promote([], objects.final);
  steps.retireReplaced(objects.archived);
  return outcome;
}

/** A key whose predecessor cannot be kept beside it. */
export function remake(context: KeyContext, steps: KeySteps, reason: string, { final }: KeyObjects): KeyOutcome {
  const { key, token } = context;
  const identity = finalIdentity(key);
  checkCapability(key, token);
  steps.makeRoom(final, "the token cannot keep both");
  steps.generate(identity, reason);
  return certify(context, steps, { action: "issue", identity, reason, newKey: true });
}

/** Why the old key cannot give up its identity to a new one; undefined when it can. */
function cannotRename({ key, token }: KeyContext, { privateKey }: Disentangled): string | undefined {
  const family = familyNamed(token.family);
  if (!family.renames) return `${family.title} cannot change the id of a key`;
  const unmodifiable = key.attributes?.modifiable === false || privateKey?.flags?.CKA_MODIFIABLE === false;
  return unmodifiable ? "the id of a key that is not modifiable cannot be changed" : undefined;
}

/** A replacement that an earlier run began takes its place. */
export function finish(context: KeyContext, steps: KeySteps, found: Disentangled, objects: KeyObjects): KeyOutcome {
  const { key } = context;
  const { archived } = objects;
  const unproven = key.certificate !== undefined && found.certificate === undefined;
  if (unproven && isOutside(key)) {
    const current = disentangle({ ...objects, fresh: [] });
    return planReplacement(context, steps, found, current.refuse === undefined ? current : undefined, archived);
  }
  const due = unproven ? "an earlier run prepared its key" : staleness(context, found, objects);
  const outcome =
    due === undefined
      ? unchanged(key.name, steps.steps, certificateFacts(found.certificate))
      : certify(context, steps, {
          action: "issue",
          identity: newIdentity(key),
          reason: due,
          newKey: true,
          spki: found.spki,
        });
  const stale = due === undefined || found.certificate === undefined ? [] : [found.certificate];
  steps.promote(
    found.promote.filter((object) => !stale.includes(object)),
    [...found.archive, ...stale],
  );
  if (due === undefined) steps.publish("a replacement was completed");
  steps.retireReplaced(archived);
  return outcome;
}

/** Why the certificate of a replacement is to be made again: much time may have gone by since it was prepared. */
function staleness(
  { key, issuer, now }: KeyContext,
  { privateKey, certificate }: Disentangled,
  { fresh }: KeyObjects,
): string | undefined {
  const facts = certificateFacts(certificate);
  // One whose key has its place already is renewed there, by the next run.
  if (key.certificate === undefined || facts === undefined || isOutside(key) || !fresh.includes(privateKey!))
    return undefined;
  return renewal(key, facts, issuer, now)?.reason;
}

/** A replacement that was prepared is not what is declared by now: another is made in its stead. */
export function beginAgain(context: KeyContext, steps: KeySteps, objects: KeyObjects): KeyOutcome {
  const current = { ...objects, fresh: [] };
  const found = disentangle(current);
  if (found.refuse !== undefined)
    throw new Refusal(found.refuse, [`tell them apart: keywright key list ${context.key.token}`]);
  return rotate(context, steps, "what was prepared is not as declared", found, current, objects.fresh);
}
