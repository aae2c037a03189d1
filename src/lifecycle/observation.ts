/**
 * What was seen: tokens, their objects, published files and pending hooks. Plain data, so that a plan can be made from
 * it, compared and stored.
 * @module
 */
import { createHash } from "node:crypto";
import type { Ulong } from "../cryptoki/port.ts";
import type { FamilyName } from "../families/families.ts";
import type { Identity } from "./identities.ts";

export type SeenClass = "private" | "public" | "certificate";

/** An object in a token that a key can be made of. */
export interface SeenObject {
  readonly class: SeenClass;
  /** For the apply that follows; not compared, for a module may number objects anew. */
  readonly handle: Ulong;
  /** CKA_ID in hexadecimal; empty where there is none. */
  readonly id: string;
  readonly label: string;
  /** The key's type as a declaration writes it; absent for one that declarations do not name. */
  readonly type?: string;
  /** SHA-256 of the SubjectPublicKeyInfo; absent where the object does not tell it. */
  readonly publicKey?: string;
  /** SubjectPublicKeyInfo, base64: of public keys and certificates. */
  readonly spki?: string;
  /** Boolean attributes that are compared with the declaration, those that the object has. */
  readonly flags?: Readonly<Record<string, boolean>>;
  readonly allowedMechanisms?: readonly string[];
  /** A certificate's DER, base64. */
  readonly der?: string;
  /** Why a certificate could not be read. */
  readonly unreadable?: string;
}

/** Sizes in bits that a token can make keys of; absent for what it cannot. */
export interface CanGenerate {
  readonly RSA?: { readonly least: number; readonly most: number };
  readonly EC?: { readonly least: number; readonly most: number };
  readonly Edwards?: { readonly least: number; readonly most: number };
  readonly Montgomery?: { readonly least: number; readonly most: number };
}

export interface SeenPresent {
  readonly state: "present";
  readonly uri: string;
  /** Where it is, in one spelling: two declared tokens of one URI and reach are one. */
  readonly reach: string;
  readonly family: FamilyName;
  readonly loggedIn: boolean;
  readonly canGenerate: CanGenerate;
  readonly objects: readonly SeenObject[];
}

export interface SeenAbsent {
  readonly state: "absent";
  readonly reason: string;
  /** Whether there is one token that can be initialised to become it. */
  readonly blank: boolean;
  /** That one has its label and SO PIN already, and lacks the user PIN. */
  readonly lacksPin?: true;
  /** An earlier run used it. */
  readonly wasHere?: true;
  /** What that one can make. */
  readonly canGenerate?: CanGenerate;
}

export interface SeenUnreadable {
  readonly state: "unreadable";
  readonly error: string;
  readonly hints: readonly string[];
  /** Whether a PIN is the reason. */
  readonly pin: boolean;
}

export type SeenToken = SeenPresent | SeenAbsent | SeenUnreadable;

/** A file that the declaration has published. */
export type SeenFile =
  | { readonly state: "absent"; readonly blocked?: string }
  | { readonly state: "unreadable"; readonly error: string }
  | {
      readonly state: "present";
      readonly sha256: string;
      /** SHA-256 of the first certificate in it; absent where there is none. */
      readonly first?: string;
      readonly mode: number;
      /** Whether it is its declared owner's; true where none is declared. */
      readonly owned: boolean;
      /** Why it cannot be written, where that is known. */
      readonly blocked?: string;
    };

/** A file with a certificate to import. */
export type SeenImport =
  | { readonly state: "absent" }
  | { readonly state: "unreadable"; readonly error: string }
  | {
      readonly state: "present";
      readonly der: string;
      /** The certificates after it, from its issuer up. */
      readonly chain: readonly string[];
    };

/** A replacement that had begun to take the place of a key. */
export interface SeenReplacement {
  /** The public keys, by digest, that give the identity up; empty for one not known. */
  readonly replaces: readonly string[];
  /** The public key that takes it; absent where the old one was being destroyed before there was a new one. */
  readonly by?: string;
  /** The identity that the replaced ones take. */
  readonly archive?: Identity;
}

export interface Observation {
  readonly tokens: Readonly<Record<string, SeenToken>>;
  /** By absolute path. */
  readonly files: Readonly<Record<string, SeenFile>>;
  readonly imports: Readonly<Record<string, SeenImport>>;
  /** SHA-256 of the CertificationRequestInfo in each request file that is there and is one; by absolute path. */
  readonly requests: Readonly<Record<string, string>>;
  /** Why a hook cannot be run; by absolute path. */
  readonly brokenHooks: Readonly<Record<string, string>>;
  /** Names of keys whose hook is not known to have run to its end. */
  readonly pendingHooks: readonly string[];
  /** Names of tokens whose initHook is not. */
  readonly pendingInitHooks: readonly string[];
  /** What a run that did not end was replacing, by name of key. */
  readonly replacing: Readonly<Record<string, SeenReplacement>>;
}

/** A digest of an observation, without handles: the same for the same state of the world. */
export function observationDigest(observation: Observation): string {
  const text = JSON.stringify(observation, (key, value: unknown) => (key === "handle" ? undefined : value));
  return createHash("sha256").update(text).digest("hex");
}
