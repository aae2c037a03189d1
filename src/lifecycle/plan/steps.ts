/**
 * The steps of a plan, and the plan itself: plain data.
 * @module
 */
import type { Ulong } from "../../cryptoki/port.ts";
import type { Publication } from "../declaration.ts";
import type { Identity } from "../identities.ts";
import type { SeenClass, SeenObject } from "../observation.ts";

/** An object that a step changes. */
export interface ObjectRef {
  readonly class: SeenClass;
  readonly id: string;
  readonly label: string;
  readonly publicKey?: string;
  /** As observed; not compared between plans. */
  readonly handle: Ulong;
}

interface OfKey {
  readonly key: string;
  readonly token: string;
}

/** What a certificate is to say. Dates are ISO 8601, to the second. */
export interface CertificatePlan {
  readonly subject: string;
  /** The declared key that signs it; absent: it signs itself. */
  readonly issuer?: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly serial?: string;
  readonly digest?: string;
  readonly pss: boolean;
  readonly extensions: readonly string[];
}

export type Step =
  | {
      readonly action: "initialise";
      readonly token: string;
      readonly label: string;
      /** It has its label and SO PIN already: only the user PIN is set. */
      readonly onlyPin?: true;
    }
  | { readonly action: "initHook"; readonly token: string; readonly hook: string; readonly reason: string }
  | (OfKey & { readonly action: "skip" | "wait"; readonly reason: string })
  | (OfKey & {
      readonly action: "refuse";
      readonly reason: string;
      readonly hints: readonly string[];
      readonly pin: boolean;
    })
  /** `ended`: when the plan was made, its certificate had ended, and none is to follow. */
  | (OfKey & { readonly action: "keep"; readonly notAfter?: string; readonly ended?: true })
  | (OfKey & { readonly action: "ask"; readonly hook: string; readonly reason: string })
  | (OfKey & {
      readonly action: "generate";
      readonly identity: Identity;
      readonly type: string;
      readonly usage: readonly string[];
      readonly reason: string;
    })
  | (OfKey & {
      readonly action: "issue" | "adopt" | "renew";
      readonly identity: Identity;
      readonly certificate: CertificatePlan;
      readonly reason: string;
    })
  | (OfKey & {
      readonly action: "request";
      readonly identity: Identity;
      readonly path: string;
      readonly subject: string;
      readonly reason: string;
    })
  | (OfKey & {
      readonly action: "import";
      readonly identity: Identity;
      readonly path: string;
      readonly notAfter: string;
      readonly reason: string;
    })
  | (OfKey & {
      readonly action: "promote";
      readonly identity: Identity;
      readonly objects: readonly ObjectRef[];
      /** The public keys, by digest, that give the identity up afterwards; empty for one not known. */
      readonly replaces: readonly string[];
      /** The identity that they take. */
      readonly archive: Identity;
    })
  | (OfKey & { readonly action: "archive"; readonly identity: Identity; readonly objects: readonly ObjectRef[] })
  | (OfKey & {
      readonly action: "retire";
      readonly objects: readonly ObjectRef[];
      readonly reason: string;
      /** A new key takes their place in this plan. */
      readonly makesRoom?: true;
    })
  | (OfKey & { readonly action: "publish"; readonly files: readonly Publication[]; readonly reason: string })
  | (OfKey & { readonly action: "hook"; readonly hook: string; readonly reason: string });

export type Action = Step["action"];

/** The sign before each step, in the manner of terraform. */
export const GLYPH: Readonly<Record<Action, string>> = {
  initialise: "+",
  initHook: "!",
  generate: "+",
  issue: "+",
  adopt: "+",
  renew: "~",
  request: "+",
  import: "+",
  promote: "~",
  archive: "~",
  retire: "-",
  publish: "~",
  ask: "?",
  hook: "!",
  wait: ".",
  skip: ".",
  keep: " ",
  refuse: "x",
};

/** Steps that change nothing. */
const IDLE: readonly Action[] = ["keep", "wait", "skip", "refuse"];

export interface Plan {
  readonly format: "keywright-plan/1";
  /** When it was made, ISO 8601. */
  readonly now: string;
  /** SHA-256 of the declaration and of the observation that it was made from. */
  readonly declaration: string;
  readonly observation: string;
  /** Keys that are replaced because a person asked for it. */
  readonly rotate: readonly string[];
  readonly steps: readonly Step[];
}

/** Whether a plan changes anything. */
export function hasChanges(plan: Plan): boolean {
  return plan.steps.some(({ action }) => !IDLE.includes(action));
}

/** The steps that refuse. */
export function refusals(plan: Plan): Extract<Step, { action: "refuse" }>[] {
  return plan.steps.filter((step) => step.action === "refuse");
}

/** Whether two plans do the same to the same things; handles aside. */
export function samePlan(a: Plan, b: Plan): boolean {
  const text = (plan: Plan) => JSON.stringify(plan, (key, value: unknown) => (key === "handle" ? undefined : value));
  return text(a) === text(b);
}

/** Of which keys they are: each digest once; empty for one that is not known. */
export function publicKeysOf(objects: readonly Pick<ObjectRef, "publicKey">[]): string[] {
  return [...new Set(objects.map(({ publicKey }) => publicKey ?? ""))];
}

export function refOf({ class: kind, id, label, publicKey, handle }: SeenObject): ObjectRef {
  return { class: kind, id, label, ...(publicKey === undefined ? {} : { publicKey }), handle };
}
