/**
 * The steps of one key.
 * @module
 */
import { familyNamed } from "../../families/families.ts";
import { parseName } from "../../x509/names.ts";
import type { KeyDeclaration } from "../declaration.ts";
import { archiveAt, finalIdentity, type Identity, newIdentity } from "../identities.ts";
import type { Observation, SeenObject, SeenPresent } from "../observation.ts";
import { checkCapability } from "./capability.ts";
import { authorityToBe, certificateFacts, certificatePlan, type IssuerState, renewal } from "./certificate.ts";
import { type Disentangled, disentangle, type KeyObjects } from "./disentangle.ts";
import { drift } from "./drift.ts";
import { isRemains, keyObjects, leftoversOf, unreadable } from "./key-objects.ts";
import { KeySteps } from "./key-steps.ts";
import { type KeyOutcome, stopped, unchanged } from "./outcome.ts";
import { isOutside, planOutside, planReplacement, request } from "./outside.ts";
import { Postponement, Refusal } from "./refusal.ts";
import { countOf, FOLLOWS } from "./states.ts";

/** What a key is planned from. */
export interface KeyContext {
  readonly key: KeyDeclaration;
  /** The token's objects; an empty list for a token that this plan initialises. */
  readonly token: Pick<SeenPresent, "family" | "loggedIn" | "objects" | "canGenerate">;
  readonly observation: Observation;
  readonly issuer: IssuerState | undefined;
  /** Whether the issuer has no certificate because it waits for something, rather than being refused. */
  readonly issuerWaits: boolean;
  readonly rotate: boolean;
  readonly now: Date;
  /** Absolute path of a declared one. */
  resolve(path: string): string;
}

/** The key that a certificate is made for. */
interface Certified {
  /** Whether this plan makes it or gives it its place, so that what it issued is issued anew. */
  readonly newKey: boolean;
  /** SubjectPublicKeyInfo, base64, where it is known. */
  readonly spki?: string | undefined;
  /** Whether it never had a certificate. */
  readonly isFirst?: boolean;
}

/** Plans one key. Pure. */
export function planKey(context: KeyContext): KeyOutcome {
  return new KeyPlanner(context).plan();
}

class KeyPlanner {
  readonly #context: KeyContext;
  readonly #key: KeyDeclaration;
  readonly #steps: KeySteps;

  constructor(context: KeyContext) {
    this.#context = context;
    this.#key = context.key;
    this.#steps = this.#noSteps();
  }

  #noSteps(): KeySteps {
    const { key, token, observation, now } = this.#context;
    return new KeySteps(key, () => archiveAt(key, token.objects, observation.replacing[key.name], now));
  }

  plan(): KeyOutcome {
    const { validStarting } = this.#key;
    if (validStarting !== undefined && this.#context.now < new Date(`${validStarting}T00:00:00Z`)) {
      return this.#stopped((steps) => steps.wait(`nothing is made before ${validStarting}`));
    }
    try {
      return this.#decide();
    } catch (error) {
      if (error instanceof Postponement) return this.#stopped((steps) => steps.wait(error.message));
      if (error instanceof Refusal) return this.#stopped((steps) => steps.refuse(error.message, error.hints));
      throw error;
    }
  }

  /** Nothing of what was decided before is done. */
  #stopped(say: (steps: KeySteps) => void): KeyOutcome {
    const only = this.#noSteps();
    say(only);
    return stopped(only.steps);
  }

  #decide(): KeyOutcome {
    const found = keyObjects(this.#context);
    const leftovers = this.#context.token.loggedIn ? leftoversOf(found, this.#key.id) : [];
    // Of no use without the private key that was to be.
    if (leftovers.length > 0) this.#steps.makeRoom(leftovers, "its private key is gone");
    const objects = leftovers.length > 0 ? { ...found, fresh: [] } : found;
    const count = (kind: SeenObject["class"]) => {
      const some = objects.final.filter((object) => object.class === kind);
      if (kind === "private" && !this.#context.token.loggedIn) return "unreadable";
      return some.some((object) => object.unreadable !== undefined) ? "unreadable" : countOf(some);
    };
    const follows = FOLLOWS[`${count("private")} ${count("public")} ${count("certificate")}`];
    if (follows === "refuse-unreadable") throw unreadable(this.#context, objects);
    if (objects.fresh.length > 0) return this.#existing(disentangle(objects), objects);
    switch (follows) {
      case "generate":
        return this.#first(objects);
      case "refuse-orphan":
        if (isRemains(objects)) return this.#remake("an earlier run destroyed its key to make room", objects);
        throw new Refusal("its private key is not in the token, but a public key or certificate with its id is", [
          "if the key is lost, delete what is left of it: keywright key delete",
        ]);
      case "adopt":
      case "check":
      case "disentangle":
        return this.#existing(disentangle(objects), objects);
    }
  }

  /** A key where there was none: made under its final identity at once, so that a run that dies is completed. */
  #first({ archived, replacement }: KeyObjects): KeyOutcome {
    checkCapability(this.#key, this.#context.token);
    this.#steps.generate(finalIdentity(this.#key), "it does not exist");
    return this.#certify("issue", finalIdentity(this.#key), "it is new", {
      newKey: true,
      isFirst: archived.length === 0 && replacement === undefined,
    });
  }

  /** A key that is there: finish what was begun, compare, renew, publish. */
  #existing(found: Disentangled, objects: KeyObjects): KeyOutcome {
    if (found.refuse !== undefined) {
      throw new Refusal(found.refuse, [
        `tell them apart: keywright key list ${this.#key.token}`,
        `delete the one that is not wanted: keywright key delete ${this.#key.name} --fingerprint …, or by its URI`,
      ]);
    }
    const { privateKey } = found;
    if (privateKey === undefined)
      throw new Refusal("what is left of its replacement has no private key", ["keywright key list"]);
    const differences = drift(this.#key, privateKey);
    const isPrepared = objects.fresh.includes(privateKey);
    if (differences.length > 0 && !this.#context.rotate) {
      const what = isPrepared ? "the replacement that an earlier run prepared is" : "it is";
      throw new Refusal(`${what} not as declared: ${differences.join("; ")}`, [
        `to replace it by a new key: keywright apply --rotate ${this.#key.name}`,
      ]);
    }
    if (differences.length > 0 && isPrepared) return this.#beginAgain(objects);
    if (found.promote.length > 0) return this.#finish(found, objects);
    if (this.#context.rotate) return this.#rotate("it was asked for", found, objects);
    return this.#current(found, objects);
  }

  /** A replacement that an earlier run began. */
  #finish(found: Disentangled, objects: KeyObjects): KeyOutcome {
    const { archived } = objects;
    const identity = newIdentity(this.#key);
    const unproven = this.#key.certificate !== undefined && found.certificate === undefined;
    if (unproven && isOutside(this.#key)) {
      const current = disentangle({ ...objects, fresh: [] });
      return planReplacement(
        this.#context,
        this.#steps,
        found,
        current.refuse === undefined ? current : undefined,
        archived,
      );
    }
    const due = unproven ? "an earlier run prepared its key" : this.#isStale(found, objects);
    const outcome =
      due === undefined
        ? this.#unchanged(found.certificate)
        : this.#certify("issue", identity, due, { newKey: true, spki: found.spki });
    const stale = due === undefined || found.certificate === undefined ? [] : [found.certificate];
    this.#steps.promote(
      found.promote.filter((object) => !stale.includes(object)),
      [...found.archive, ...stale],
    );
    if (due === undefined) this.#steps.publish("a replacement was completed");
    this.#steps.retireReplaced(archived);
    return outcome;
  }

  /** Why the certificate of a replacement is to be made again: much time may have gone by since it was prepared. */
  #isStale({ privateKey, certificate }: Disentangled, { fresh }: KeyObjects): string | undefined {
    const { certificate: declared } = this.#key;
    const facts = certificateFacts(certificate);
    // One whose key has its place already is renewed there, by the next run.
    if (declared === undefined || facts === undefined || isOutside(this.#key) || !fresh.includes(privateKey!))
      return undefined;
    return renewal(declared, facts, this.#context.issuer, this.#context.now)?.reason;
  }

  /** A replacement that was prepared is not what is declared by now: another is made in its stead. */
  #beginAgain(objects: KeyObjects): KeyOutcome {
    const current = { ...objects, fresh: [] };
    const found = disentangle(current);
    if (found.refuse !== undefined) throw new Refusal(found.refuse);
    return this.#rotate("what was prepared is not as declared", found, current, objects.fresh);
  }

  #rotate(reason: string, found: Disentangled, objects: KeyObjects, prepared: readonly SeenObject[] = []): KeyOutcome {
    const { key, token } = this.#context;
    const { final, archived } = objects;
    const fixed = this.#cannotRename(found);
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
    if (found.certificate !== undefined) this.#steps.ask("the hook may decline");
    if (prepared.length > 0) this.#steps.makeRoom(prepared, "it is not as declared");
    if (fixed !== undefined) return this.#remake(reason, objects);
    this.#steps.generate(newIdentity(key), reason);
    if (isOutside(key)) {
      request(this.#context, this.#steps, newIdentity(key), reason);
      return this.#unchanged(found.certificate);
    }
    const outcome = this.#certify("issue", newIdentity(key), reason, { newKey: true });
    this.#steps.promote([], final);
    this.#steps.retireReplaced(archived);
    return outcome;
  }

  /** A key whose predecessor cannot be kept beside it. */
  #remake(reason: string, { final }: KeyObjects): KeyOutcome {
    checkCapability(this.#key, this.#context.token);
    this.#steps.makeRoom(final, "the token cannot keep both");
    this.#steps.generate(finalIdentity(this.#key), reason);
    return this.#certify("issue", finalIdentity(this.#key), reason, { newKey: true });
  }

  /** Why the old key cannot give up its identity to a new one; undefined when it can. */
  #cannotRename({ privateKey }: Disentangled): string | undefined {
    const family = familyNamed(this.#context.token.family);
    if (!family.renames) return `${family.title} cannot change the id of a key`;
    const unmodifiable = this.#key.attributes?.modifiable === false || privateKey?.flags?.CKA_MODIFIABLE === false;
    return unmodifiable ? "the id of a key that is not modifiable cannot be changed" : undefined;
  }

  /** A key that stands under its identity alone, or with what it replaced. */
  #current(found: Disentangled, objects: KeyObjects): KeyOutcome {
    const { certificate: declared } = this.#key;
    this.#steps.archive(found.archive);
    if (declared === undefined) return this.#keep(undefined, objects);
    if (isOutside(this.#key)) {
      const outcome = planOutside(this.#context, this.#steps, found, objects.archived);
      if (outcome === undefined) return this.#keep(found.certificate, objects);
      return "rotate" in outcome ? this.#rotate(outcome.rotate, found, objects) : outcome;
    }
    if (found.certificate === undefined) {
      const mismatched = objects.final.find((object) => object.class === "certificate");
      if (mismatched !== undefined) {
        throw new Refusal("the certificate with its id belongs to another key", [
          "delete it if it is not wanted: the key gets a new one",
        ]);
      }
      const of = { newKey: false, spki: found.spki, isFirst: true };
      return this.#certify("adopt", finalIdentity(this.#key), "the key has no certificate", of);
    }
    const due = renewal(declared, certificateFacts(found.certificate)!, this.#context.issuer, this.#context.now);
    if (due === undefined) return this.#keep(found.certificate, objects);
    if (due.byTime && declared.renewKey) return this.#rotate(due.reason, found, objects);
    const of = { newKey: false, spki: found.spki };
    const outcome = this.#certify("renew", finalIdentity(this.#key), due.reason, of);
    this.#steps.archive([found.certificate]);
    this.#steps.retireReplaced(objects.archived);
    return outcome;
  }

  #keep(certificate: SeenObject | undefined, { archived }: KeyObjects): KeyOutcome {
    const outcome = this.#unchanged(certificate);
    this.#steps.retireReplaced(archived);
    if (this.#steps.steps.length === 0) this.#steps.keep(outcome.certificate?.notAfter);
    return outcome;
  }

  #unchanged(certificate: SeenObject | undefined): KeyOutcome {
    return unchanged(this.#key.name, this.#steps.steps, certificateFacts(certificate));
  }

  /** A certificate from a declared issuer, or by the key itself; or a request, where an outside CA makes it. */
  #certify(action: "issue" | "adopt" | "renew", identity: Identity, reason: string, of: Certified): KeyOutcome {
    const { certificate: declared } = this.#key;
    if (declared === undefined) return this.#unchanged(undefined);
    if (isOutside(this.#key)) {
      request(this.#context, this.#steps, identity, reason);
      return this.#unchanged(undefined);
    }
    const { issuer, now, token } = this.#context;
    if (declared.issuer !== undefined && issuer === undefined) {
      if (this.#context.issuerWaits) throw new Postponement(`its issuer ${declared.issuer} has no certificate yet`);
      throw new Refusal(`its issuer ${declared.issuer} has no certificate to issue with`, [
        `see what keeps ${declared.issuer} from having one`,
      ]);
    }
    const certificate = certificatePlan(this.#key, issuer, token.objects, of.isFirst === true, now);
    this.#steps.certify(action, identity, certificate, reason);
    this.#steps.publish(reason);
    const asIssuer = {
      name: this.#key.name,
      certificate: undefined,
      subject: parseName(declared.subject!),
      authority: () =>
        of.spki === undefined ? undefined : authorityToBe(declared, issuer, Buffer.from(of.spki, "base64")),
      notAfter: new Date(certificate.notAfter),
      changes: true,
      newKey: of.newKey,
    };
    return { steps: this.#steps.steps, refused: false, certificate: undefined, asIssuer };
  }
}
