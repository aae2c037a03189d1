/**
 * The steps of one key, written down in the order in which they are decided.
 * @module
 */
import type { KeyDeclaration } from "../declaration.ts";
import { typeOf } from "../declaration.ts";
import { finalIdentity, type Identity } from "../identities.ts";
import type { SeenClass, SeenObject } from "../observation.ts";
import type { CertificatePlan } from "./steps.ts";
import { type ObjectRef, publicKeysOf, refOf, type Step } from "./steps.ts";

const CLASSES: readonly SeenClass[] = ["private", "public", "certificate"];

/** Private keys go first, so that what is found by its id has its private key; and what is left of one tells whose it was. */
function inOrder(objects: readonly SeenObject[]): ObjectRef[] {
  return [...objects].sort((a, b) => CLASSES.indexOf(a.class) - CLASSES.indexOf(b.class)).map(refOf);
}

export class KeySteps {
  readonly steps: Step[] = [];
  readonly #key: KeyDeclaration;
  readonly #archiveAt: () => Identity;
  readonly #of: { key: string; token: string };

  /** @param archiveAt the identity that what is replaced takes; asked for when there is something */
  constructor(key: KeyDeclaration, archiveAt: () => Identity) {
    this.#key = key;
    this.#archiveAt = archiveAt;
    this.#of = { key: key.name, token: key.token };
  }

  generate(identity: Identity, reason: string): void {
    const { usage } = this.#key;
    this.steps.push({ action: "generate", ...this.#of, identity, type: typeOf(this.#key), usage, reason });
  }

  certify(action: "issue" | "adopt" | "renew", identity: Identity, certificate: CertificatePlan, reason: string): void {
    this.steps.push({ action, ...this.#of, identity, certificate, reason });
  }

  /** The request for an outside CA, where one is declared. */
  request(identity: Identity, reason: string): void {
    const { csr, subject } = this.#key.certificate!;
    if (csr === undefined || subject === undefined) return;
    this.steps.push({ action: "request", ...this.#of, identity, path: csr, subject, reason });
  }

  import(identity: Identity, path: string, notAfter: Date, reason: string): void {
    this.steps.push({ action: "import", ...this.#of, identity, path, notAfter: notAfter.toISOString(), reason });
  }

  /**
   * The replacement takes the key's identity, then what it replaces gives it up.
   * @param objects those of it that an earlier run made; those of this one are promoted too
   */
  promote(objects: readonly SeenObject[], replaced: readonly SeenObject[]): void {
    const identity = finalIdentity(this.#key);
    const replaces = publicKeysOf(replaced);
    const archive = this.#archiveAt();
    this.steps.push({ action: "promote", ...this.#of, identity, objects: inOrder(objects), replaces, archive });
    this.archive(replaced);
  }

  archive(objects: readonly SeenObject[]): void {
    if (objects.length === 0) return;
    const identity = this.#archiveAt();
    this.steps.push({ action: "archive", ...this.#of, identity, objects: inOrder(objects) });
  }

  /** A token that cannot keep both: what is there is destroyed, then its replacement is made. */
  makeRoom(objects: readonly SeenObject[], reason: string): void {
    this.steps.push({ action: "retire", ...this.#of, objects: inOrder(objects), reason, makesRoom: true });
  }

  /**
   * What was replaced, by this run or an earlier one, is destroyed where that is declared; where in the plan, is decided
   * with the files: after the hook has taken up what replaces it.
   */
  retireReplaced(archived: readonly SeenObject[]): void {
    if (this.#key.retireOld !== "destroy") return;
    const { id, label } = this.#archiveAt();
    const now = this.steps.flatMap((step) => (step.action === "archive" ? step.objects : []));
    const objects = [...now.map((object) => ({ ...object, id, label })), ...archived.map(refOf)];
    if (objects.length > 0) this.steps.push({ action: "retire", ...this.#of, objects, reason: "it was replaced" });
  }

  ask(reason: string): void {
    const hook = this.#key.certificate?.hook;
    if (hook !== undefined) this.steps.push({ action: "ask", ...this.#of, hook, reason });
  }

  wait(reason: string): void {
    this.steps.push({ action: "wait", ...this.#of, reason });
  }

  refuse(reason: string, hints: readonly string[]): void {
    this.steps.push({ action: "refuse", ...this.#of, reason, hints, pin: false });
  }

  keep(notAfter: Date | undefined, now: Date): void {
    const until = notAfter === undefined ? {} : { notAfter: notAfter.toISOString() };
    const ended = notAfter !== undefined && notAfter < now ? { ended: true as const } : {};
    this.steps.push({ action: "keep", ...this.#of, ...until, ...ended });
  }

  /** Marks that files are to be written and the hook is to run; where in the plan, is decided with the files. */
  publish(reason: string): void {
    const { certificate } = this.#key;
    if (certificate === undefined) return;
    const { publish: files, hook } = certificate;
    if (files.length > 0) this.steps.push({ action: "publish", ...this.#of, files, reason });
    if (hook !== undefined) this.steps.push({ action: "hook", ...this.#of, hook, reason });
  }
}
