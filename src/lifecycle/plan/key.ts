/**
 * The steps of one key.
 * @module
 */
import { familyNamed } from "../../families/families.ts";
import { type CertificateFacts, fingerprint, readCertificate } from "../../x509/read.ts";
import type { KeyDeclaration } from "../declaration.ts";
import { typeOf } from "../declaration.ts";
import { archiveIdentity, finalIdentity, type Identity, newIdentity, type Standing, standing } from "../identities.ts";
import type { Observation, SeenObject, SeenPresent } from "../observation.ts";
import { checkCapability } from "./capability.ts";
import { certificatePlan, type IssuerState, renewal } from "./certificate.ts";
import { type Disentangled, disentangle, type KeyObjects } from "./disentangle.ts";
import { drift } from "./drift.ts";
import { Postponement, Refusal } from "./refusal.ts";
import { countOf, FOLLOWS } from "./states.ts";
import { refOf, type Step } from "./steps.ts";

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

/** What a key will be after its steps, for its children and its files. */
export interface KeyOutcome {
  readonly steps: readonly Step[];
  readonly refused: boolean;
  /** The certificate that stays; undefined when it changes or there is none. */
  readonly certificate: CertificateFacts | undefined;
  /** Absent when it will have no certificate. */
  readonly asIssuer?: IssuerState;
}

/** Plans one key. Pure. */
export function planKey(context: KeyContext): KeyOutcome {
  return new KeyPlanner(context).plan();
}

class KeyPlanner {
  readonly #context: KeyContext;
  readonly #key: KeyDeclaration;
  readonly #steps: Step[] = [];
  readonly #of: { key: string; token: string };

  constructor(context: KeyContext) {
    this.#context = context;
    this.#key = context.key;
    this.#of = { key: context.key.name, token: context.key.token };
  }

  plan(): KeyOutcome {
    const { validStarting } = this.#key;
    if (validStarting !== undefined && this.#context.now < new Date(`${validStarting}T00:00:00Z`)) {
      const reason = `nothing is made before ${validStarting}`;
      return { steps: [{ action: "wait", ...this.#of, reason }], refused: true, certificate: undefined };
    }
    try {
      return this.#decide();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error instanceof Postponement) {
        return {
          steps: [{ action: "wait", ...this.#of, reason: error.message }],
          refused: true,
          certificate: undefined,
        };
      }
      const step: Step = { action: "refuse", ...this.#of, reason: error.message, hints: error.hints, pin: false };
      return { steps: [step], refused: true, certificate: undefined };
    }
  }

  #decide(): KeyOutcome {
    const objects = this.#objects();
    const count = (kind: SeenObject["class"]) => {
      const some = objects.final.filter((object) => object.class === kind);
      if (kind === "private" && !this.#context.token.loggedIn) return "unreadable";
      return some.some((object) => object.unreadable !== undefined) ? "unreadable" : countOf(some);
    };
    const follows = FOLLOWS[`${count("private")} ${count("public")} ${count("certificate")}`];
    if (follows === "refuse-unreadable") throw this.#unreadable(objects);
    if (objects.fresh.length > 0) return this.#existing(disentangle(objects), objects);
    switch (follows) {
      case "generate":
        return this.#first();
      case "refuse-orphan":
        throw new Refusal("its private key is not in the token, but a public key or certificate with its id is", [
          "if the key is lost, delete what is left of it: keywright key delete",
        ]);
      case "adopt":
      case "check":
      case "disentangle":
        return this.#existing(disentangle(objects), objects);
    }
  }

  #objects(): KeyObjects {
    const { token } = this.#context;
    const { labels } = familyNamed(token.family);
    const by: Record<Standing, SeenObject[]> = { final: [], new: [], archived: [], conflict: [], other: [] };
    for (const object of token.objects) by[standing(object, this.#key, labels)].push(object);
    const conflict = by.conflict[0];
    if (conflict !== undefined) {
      const taken = conflict.id === this.#key.id ? `id 0x${conflict.id}` : `label ${JSON.stringify(conflict.label)}`;
      throw new Refusal(
        `its ${taken} belongs to another private key in the token (id 0x${conflict.id}, label ${JSON.stringify(conflict.label)})`,
        ["choose another id and label, or rename the other key: keywright key rename"],
      );
    }
    return { final: by.final, fresh: by.new, archived: by.archived };
  }

  #unreadable({ final }: KeyObjects): Refusal {
    if (!this.#context.token.loggedIn) {
      return new Refusal("private keys cannot be seen without the user PIN", [
        "declare where it comes from: pin: { file: … }",
      ]);
    }
    const broken = final.find((object) => object.unreadable !== undefined);
    return new Refusal(`its certificate in the token cannot be read: ${broken?.unreadable}`, [
      "delete it if it is broken: the key gets a new one",
    ]);
  }

  /** A key where there was none: made under its final identity at once, so that a run that dies is completed. */
  #first(): KeyOutcome {
    checkCapability(this.#key, this.#context.token);
    this.#generate(finalIdentity(this.#key), "it does not exist");
    return this.#certify(finalIdentity(this.#key), "issue", "it is new", true);
  }

  #generate(identity: Identity, reason: string): void {
    this.#steps.push({
      action: "generate",
      ...this.#of,
      identity,
      type: typeOf(this.#key),
      usage: this.#key.usage,
      reason,
    });
  }

  /** A key that is there: finish what was begun, compare, renew, publish. */
  #existing(found: Disentangled, objects: KeyObjects): KeyOutcome {
    if (found.refuse !== undefined) {
      throw new Refusal(found.refuse, [
        "look at them: keywright key list",
        "delete the one that is not wanted: keywright key delete",
      ]);
    }
    const { privateKey } = found;
    if (privateKey === undefined)
      throw new Refusal("what is left of its replacement has no private key", ["keywright key list"]);
    const differences = drift(this.#key, privateKey);
    const preparing = found.promote.some((object) => object.class === "private");
    if (differences.length > 0 && !this.#context.rotate) {
      throw new Refusal(`it is not as declared: ${differences.join("; ")}`, [
        `to replace it by a new key: keywright apply --rotate ${this.#key.name}`,
      ]);
    }
    if (preparing || found.promote.length > 0) return this.#finish(found);
    if (this.#context.rotate) return this.#rotate("it was asked for", found, objects);
    return this.#current(found, objects);
  }

  /** A replacement that an earlier run began. */
  #finish(found: Disentangled): KeyOutcome {
    const identity = newIdentity(this.#key);
    const unproven = this.#key.certificate !== undefined && found.certificate === undefined;
    const outcome = unproven
      ? this.#certify(identity, "issue", "an earlier run prepared its key", true)
      : this.#settled(found);
    this.#promote(found.promote);
    this.#archive(found.archive);
    if (!unproven) this.#publishAgain("a replacement was completed");
    return { ...outcome, steps: this.#steps };
  }

  #rotate(reason: string, found: Disentangled, { final }: KeyObjects): KeyOutcome {
    const { key } = this.#context;
    const family = familyNamed(this.#context.token.family);
    if (!family.renames && key.retireOld !== "destroy") {
      throw new Refusal(
        `${family.title} cannot change the id of a key, so the old one would be lost when it is replaced`,
        ["declare retireOld: destroy if that is what is wanted"],
      );
    }
    checkCapability(this.#key, this.#context.token);
    const hook = key.certificate?.hook;
    if (hook !== undefined && found.certificate !== undefined) {
      this.#steps.push({ action: "ask", ...this.#of, hook, reason: "the hook may decline" });
    }
    if (!family.renames) {
      this.#retire(final, "the token cannot keep both");
      this.#generate(finalIdentity(key), reason);
      return this.#certify(finalIdentity(key), "issue", reason, true);
    }
    this.#generate(newIdentity(key), reason);
    const outcome = this.#certify(newIdentity(key), "issue", reason, true);
    this.#promote([]);
    this.#archive(final);
    return { ...outcome, steps: this.#steps };
  }

  #promote(objects: readonly SeenObject[]): void {
    this.#steps.push({
      action: "promote",
      ...this.#of,
      identity: finalIdentity(this.#key),
      objects: objects.map(refOf),
    });
  }

  #archive(objects: readonly SeenObject[]): void {
    if (objects.length === 0) return;
    const identity = archiveIdentity(this.#key, this.#context.now);
    this.#steps.push({ action: "archive", ...this.#of, identity, objects: objects.map(refOf) });
  }

  #retire(objects: readonly SeenObject[], reason: string): void {
    if (objects.length > 0) this.#steps.push({ action: "retire", ...this.#of, objects: objects.map(refOf), reason });
  }

  /** A key that stands under its identity alone, or with what it replaced. */
  #current(found: Disentangled, objects: KeyObjects): KeyOutcome {
    const { certificate: declared } = this.#key;
    this.#archive(found.archive);
    if (declared === undefined) return this.#keep(undefined, objects);
    if (declared.csr !== undefined || declared.import !== undefined) return this.#outside(found, objects);
    if (found.certificate === undefined) {
      const mismatched = objects.final.find((object) => object.class === "certificate");
      if (mismatched !== undefined) {
        throw new Refusal("the certificate with its id belongs to another key", [
          "delete it if it is not wanted: the key gets a new one",
        ]);
      }
      return this.#certify(finalIdentity(this.#key), "adopt", "the key has no certificate", false);
    }
    const der = Buffer.from(found.certificate.der!, "base64");
    const due = renewal(declared, der, this.#context.issuer, this.#context.now);
    if (due === undefined) return this.#keep(der, objects);
    if (due.byTime && declared.renewKey) return this.#rotate(due.reason, found, objects);
    const outcome = this.#certify(finalIdentity(this.#key), "renew", due.reason, false);
    this.#archive([found.certificate]);
    return { ...outcome, steps: this.#steps };
  }

  #keep(der: Uint8Array | undefined, { archived }: KeyObjects): KeyOutcome {
    const facts = der === undefined ? undefined : readCertificate(der);
    const pending = this.#context.observation.pendingHooks[this.#key.name];
    if (this.#key.retireOld === "destroy" && pending === undefined) this.#retire(archived, "it was replaced");
    if (this.#steps.length === 0) {
      this.#steps.push({
        action: "keep",
        ...this.#of,
        ...(facts === undefined ? {} : { notAfter: facts.notAfter.toISOString() }),
      });
    }
    return this.#outcome(facts);
  }

  #settled(found: Disentangled): KeyOutcome {
    const der = found.certificate?.der;
    return this.#outcome(der === undefined ? undefined : readCertificate(Buffer.from(der, "base64")));
  }

  #outcome(facts: CertificateFacts | undefined): KeyOutcome {
    return {
      steps: this.#steps,
      refused: false,
      certificate: facts,
      ...(facts === undefined
        ? {}
        : {
            asIssuer: {
              name: this.#key.name,
              certificate: facts,
              notAfter: facts.notAfter,
              changes: false,
              newKey: false,
            },
          }),
    };
  }

  /** A certificate from a declared issuer, or by the key itself; or a request, where an outside CA makes it. */
  #certify(identity: Identity, action: "issue" | "adopt" | "renew", reason: string, newKey: boolean): KeyOutcome {
    const { certificate: declared } = this.#key;
    if (declared === undefined) return this.#outcome(undefined);
    if (declared.csr !== undefined || declared.import !== undefined) {
      this.#request(reason);
      return this.#outcome(undefined);
    }
    const { issuer, now } = this.#context;
    if (declared.issuer !== undefined && issuer === undefined) {
      if (this.#context.issuerWaits) throw new Postponement(`its issuer ${declared.issuer} has no certificate yet`);
      throw new Refusal(`its issuer ${declared.issuer} has no certificate to issue with`, [
        `see what keeps ${declared.issuer} from having one`,
      ]);
    }
    const certificate = certificatePlan(this.#key, issuer, now);
    this.#steps.push({ action, ...this.#of, identity, certificate, reason });
    this.#publishAgain(reason);
    const asIssuer = {
      name: this.#key.name,
      certificate: undefined,
      notAfter: new Date(certificate.notAfter),
      changes: true,
      newKey,
    };
    return { steps: this.#steps, refused: false, certificate: undefined, asIssuer };
  }

  /** Marks that files are to be written and the hook is to run; where in the plan, is decided with the files. */
  #publishAgain(reason: string): void {
    const { certificate } = this.#key;
    if (certificate === undefined) return;
    if (certificate.publish.length > 0) {
      this.#steps.push({ action: "publish", ...this.#of, files: certificate.publish, reason });
    }
    if (certificate.hook !== undefined)
      this.#steps.push({ action: "hook", ...this.#of, hook: certificate.hook, reason });
  }

  #request(reason: string): void {
    const { csr, subject, import: file } = this.#key.certificate!;
    if (csr !== undefined && subject !== undefined) {
      this.#steps.push({ action: "request", ...this.#of, path: csr, subject, reason });
    }
    if (file !== undefined) {
      this.#steps.push({ action: "wait", ...this.#of, reason: `its certificate is to come from outside, in ${file}` });
    }
  }

  #outside(found: Disentangled, objects: KeyObjects): KeyOutcome {
    const { csr, import: file, renewBefore } = this.#key.certificate!;
    const present = found.certificate?.der;
    const seen = file === undefined ? undefined : this.#context.observation.imports[this.#context.resolve(file)];
    if (seen?.state === "unreadable") throw new Refusal(`${file} cannot be read: ${seen.error}`);
    if (seen?.state === "present" && seen.der !== present) {
      const facts = readCertificate(Buffer.from(seen.der, "base64"));
      const older =
        present !== undefined && readCertificate(Buffer.from(present, "base64")).notBefore > facts.notBefore;
      if (found.publicKey !== undefined && fingerprint(facts.spki) !== found.publicKey) {
        throw new Refusal(`the certificate in ${file} does not match the key`, [
          "it was made for another key; send the request of this one again",
        ]);
      }
      if (!older) {
        const reason = present === undefined ? "it came" : "a newer one came";
        this.#steps.push({
          action: "import",
          ...this.#of,
          path: file!,
          notAfter: facts.notAfter.toISOString(),
          reason,
        });
        this.#publishAgain(reason);
        if (found.certificate !== undefined) this.#archive([found.certificate]);
        const issuer = {
          name: this.#key.name,
          certificate: facts,
          notAfter: facts.notAfter,
          changes: true,
          newKey: false,
        };
        return { steps: this.#steps, refused: false, certificate: undefined, asIssuer: issuer };
      }
    }
    const due =
      present === undefined
        ? { reason: "the key has no certificate" }
        : renewBefore === undefined
          ? undefined
          : renewal(this.#key.certificate!, Buffer.from(present, "base64"), undefined, this.#context.now);
    if (due === undefined) return this.#keep(Buffer.from(present!, "base64"), objects);
    const written = csr === undefined ? undefined : this.#context.observation.requests[this.#context.resolve(csr)];
    if (written !== undefined && written === found.publicKey) {
      this.#steps.push({ action: "wait", ...this.#of, reason: `${due.reason}; the request is in ${csr}` });
      return this.#outcome(present === undefined ? undefined : readCertificate(Buffer.from(present, "base64")));
    }
    this.#request(due.reason);
    return this.#outcome(present === undefined ? undefined : readCertificate(Buffer.from(present, "base64")));
  }
}
