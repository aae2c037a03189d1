/** What the conformance suite speaks: a module under test, and the port in fewer words. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { expect } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import type {
  Args,
  Attribute,
  AttributeValue,
  Cryptoki,
  FunctionName,
  Mechanism,
  Output,
  ParameterValue,
  Provider,
  Reply,
  Ulong,
} from "../../src/cryptoki/port.ts";
import { type AttributeName, CKA } from "../../src/spec/attributes.ts";
import { SESSION_FLAGS } from "../../src/spec/flags.ts";
import { CKM, type MechanismName } from "../../src/spec/mechanisms.ts";
import { CKK, CKO, CKU } from "../../src/spec/objects.ts";
import { CKR, type ReturnName, returnName } from "../../src/spec/returns.ts";

/** Behaviour of the standard that a module may declare not to have. */
type Behaviour =
  | "session objects"
  | "importing a secret key"
  | "copying an object"
  | "changing an attribute"
  | "the SO and read-only sessions exclude each other"
  | "one user at a time"
  | "user types are checked"
  | "slots are checked"
  | "changing the user's PIN"
  | "sensitive attributes"
  | "templates are checked"
  | "an unknown mechanism's information"
  | "a size query leaves the operation active"
  | "parallel sessions are refused"
  | "an operation that is active"
  | "private objects need a login"
  | "extracting a secret key"
  | "closing the last session logs out"
  | "read-only sessions change no token object"
  | "attributes that cannot change"
  | "logging out needs a login"
  | "key types are checked"
  | "a failed authentication has its own return value"
  | "a wrong old PIN has its own return value"
  | "a room too small is noticed"
  | "a search is an operation"
  | "what a key may do has its own return value"
  | "generated keys are local"
  | "what may not leave is not wrapped"
  | "data objects"
  | "destroyed objects are invalid"
  | "the curve P-521"
  | "attributes have the standard's kinds";

export type Ability = MechanismName | FunctionName | Behaviour;

/** A module for the suite. */
export interface Subject {
  readonly name: string;
  /** A token that is initialised, its user's PIN set. Called once; nobody else uses the token meanwhile. */
  open(): Promise<Target>;
  /** What the module cannot do, and why. Those tests must fail: a gap that has closed is noticed. */
  readonly unsupported?: Partial<Record<Ability, string>>;
  /** What the module does otherwise than the standard says. Those tests must fail too. */
  readonly quirks?: Partial<Record<Ability, string>>;
  /** What the module does not survive: those tests are not run. */
  readonly harmful?: Partial<Record<Ability, string>>;
  /** Where the keys of the tests live: in the session, or in the token for a module that knows no other. */
  readonly storage?: "session" | "token";
  /** Which data objects it takes; public ones if not given. */
  readonly dataObjects?: "public" | "private";
}

export interface Target {
  readonly provider: Provider;
  /** The token's label: slot numbers change, SoftHSM's with every C_Initialize after C_InitToken. */
  readonly label: string;
  readonly userPin: Uint8Array;
  /** undefined if the token has no SO any more. */
  readonly soPin: Uint8Array | undefined;
  /** Removes what was made for the test, after the provider was closed. */
  remove(): void | Promise<void>;
}

type Values = { readonly [N in AttributeName]?: AttributeValue | string };

/** `{ CKA_LABEL: "x" }` as a template. */
export function template(values: Values): Attribute[] {
  return Object.entries(values).map(([name, value]) => ({
    type: CKA[name as AttributeName][0],
    value: typeof value === "string" ? utf8(value) : value,
  }));
}

export function mechanism(name: MechanismName, parameter?: ParameterValue): Mechanism {
  return { type: CKM[name][0], ...(parameter === undefined ? {} : { parameter }) };
}

/** A Buffer is as good as any Uint8Array, but not equal to one for the test runner. */
function plain<T>(value: T): T | Uint8Array {
  return value instanceof Uint8Array ? new Uint8Array(value) : value;
}

export function bytesOf({ output }: { readonly output: Output }): Uint8Array {
  expect(output).toHaveProperty("bytes");
  return new Uint8Array((output as { bytes: Uint8Array }).bytes);
}

/** The return value of a call that fails: `"CKR_PIN_INCORRECT"`; CKR_OK if it does not. */
export async function rvOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return returnName(CKR.CKR_OK[0]);
  } catch (error) {
    if (error instanceof CryptokiError) return returnName(error.rv);
    throw error;
  }
}

/** A call fails, with one of these return values. */
export async function refuses(call: () => unknown, ...names: ReturnName[]): Promise<void> {
  expect(names).toContain(await rvOf(call));
}

export const CURVES = {
  "P-256": { params: "06082a8648ce3d030107", size: 32 },
  "P-384": { params: "06052b81040022", size: 48 },
  "P-521": { params: "06052b81040023", size: 66 },
} as const;
export type CurveName = keyof typeof CURVES;

export interface KeyPair {
  readonly publicKey: Ulong;
  readonly privateKey: Ulong;
}

/** One application of the module under test. */
export class Kit {
  readonly target: Target;
  readonly p11: Cryptoki;
  /** The token's slot, known once {@link initialise} was called. */
  slot: Ulong = 0;
  readonly #isStored: boolean;
  /** CKA_PRIVATE of data objects. */
  readonly hasPrivateData: boolean;

  constructor(target: Target, p11: Cryptoki, subject: Subject) {
    this.target = target;
    this.p11 = p11;
    this.#isStored = subject.storage === "token";
    this.hasPrivateData = subject.dataObjects === "private";
  }

  async call<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    return this.p11.call(fn, args);
  }

  async initialise(): Promise<void> {
    await this.call("C_Initialize", { args: {} });
    for (const slot of (await this.call("C_GetSlotList", { tokenPresent: true })).slots) {
      const { info } = await this.call("C_GetTokenInfo", { slot });
      if (info.label === this.target.label) {
        this.slot = slot;
        return;
      }
    }
    throw new Error(`no slot has the token ${this.target.label}`);
  }

  async open(access: "ro" | "rw" = "rw"): Promise<Ulong> {
    const flags = SESSION_FLAGS.CKF_SERIAL_SESSION[0] | (access === "rw" ? SESSION_FLAGS.CKF_RW_SESSION[0] : 0);
    return (await this.call("C_OpenSession", { slot: this.slot, flags })).session;
  }

  async login(session: Ulong, pin: Uint8Array = this.target.userPin): Promise<void> {
    await this.call("C_Login", { session, userType: CKU.CKU_USER[0], pin });
  }

  /** Runs in a token without sessions or login, and leaves it so. */
  async alone(run: () => Promise<void>): Promise<void> {
    const { slot } = this;
    await this.call("C_CloseAllSessions", { slot });
    try {
      await run();
    } finally {
      await this.call("C_CloseAllSessions", { slot });
    }
  }

  /** Runs with a read-write session in which the user is logged in; what was made in the token is destroyed. */
  async user(run: (session: Ulong) => Promise<void>): Promise<void> {
    await this.alone(async () => {
      const session = await this.open();
      await this.login(session);
      try {
        await run(session);
      } finally {
        await this.#sweep();
      }
    });
  }

  /** Destroys every object that a test made. */
  async #sweep(): Promise<void> {
    // With a new login: tpm2-pkcs11 leaves a key in the TPM's few places if it is destroyed while it is loaded.
    await this.call("C_CloseAllSessions", { slot: this.slot });
    const session = await this.open();
    await this.login(session);
    for (const label of [LABEL, RENAMED]) {
      for (const object of await this.find(session, { CKA_LABEL: label })) {
        await this.call("C_DestroyObject", { session, object });
      }
    }
  }

  /** The SO's PIN. */
  get soPin(): Uint8Array {
    if (this.target.soPin === undefined) throw new Error("the token has no SO");
    return this.target.soPin;
  }

  async state(session: Ulong): Promise<Ulong> {
    return (await this.call("C_GetSessionInfo", { session })).info.state;
  }

  async find(session: Ulong, values: Values, max = 100): Promise<readonly Ulong[]> {
    await this.call("C_FindObjectsInit", { session, template: template(values) });
    const found = [];
    for (;;) {
      const { objects } = await this.call("C_FindObjects", { session, max });
      if (objects.length === 0) break;
      found.push(...objects);
    }
    await this.call("C_FindObjectsFinal", { session });
    return found;
  }

  /** The values of these attributes, by name; what the module does not give is absent. */
  async read<N extends AttributeName>(
    session: Ulong,
    object: Ulong,
    ...names: N[]
  ): Promise<Record<N, AttributeValue>> {
    const requests = names.map((name) => ({ type: CKA[name][0] }));
    const { values } = await this.call("C_GetAttributeValue", { session, object, requests });
    return Object.fromEntries(
      names.flatMap((name, i) =>
        values.values[i]!.value === undefined ? [] : [[name, plain(values.values[i]!.value)]],
      ),
    ) as Record<N, AttributeValue>;
  }

  /** What every object of a test has, so that it is found and destroyed afterwards. */
  get own(): Values {
    return { CKA_TOKEN: this.#isStored, CKA_LABEL: LABEL };
  }

  async data(session: Ulong, values: Values = {}): Promise<Ulong> {
    const all = {
      CKA_CLASS: CKO.CKO_DATA[0],
      ...this.own,
      CKA_PRIVATE: this.hasPrivateData,
      CKA_VALUE: "a value",
      ...values,
    };
    return (await this.call("C_CreateObject", { session, template: template(all) })).object;
  }

  async ec(session: Ulong, curve: CurveName, values: Values = {}): Promise<KeyPair> {
    const params = Buffer.from(CURVES[curve].params, "hex");
    return this.#pair(
      session,
      "CKM_EC_KEY_PAIR_GEN",
      { CKA_EC_PARAMS: params, CKA_VERIFY: true },
      { CKA_SIGN: true, ...values },
    );
  }

  async ed25519(session: Ulong): Promise<KeyPair> {
    // PrintableString "edwards25519": what modules of 2.40 with 3.0's mechanism take, and 3.0 allows.
    const params = Buffer.from("130c656477617264733235353139", "hex");
    return this.#pair(
      session,
      "CKM_EC_EDWARDS_KEY_PAIR_GEN",
      { CKA_EC_PARAMS: params, CKA_VERIFY: true },
      { CKA_SIGN: true },
    );
  }

  async rsa(session: Ulong, use: "sign" | "decrypt" | "unwrap"): Promise<KeyPair> {
    const uses = {
      sign: ["CKA_VERIFY", "CKA_SIGN"],
      decrypt: ["CKA_ENCRYPT", "CKA_DECRYPT"],
      unwrap: ["CKA_WRAP", "CKA_UNWRAP"],
    } as const;
    const [forPublic, forPrivate] = uses[use];
    const size = { CKA_MODULUS_BITS: 2048, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1) };
    return this.#pair(session, "CKM_RSA_PKCS_KEY_PAIR_GEN", { ...size, [forPublic]: true }, { [forPrivate]: true });
  }

  async #pair(session: Ulong, name: MechanismName, forPublic: Values, forPrivate: Values): Promise<KeyPair> {
    return this.call("C_GenerateKeyPair", {
      session,
      mechanism: mechanism(name),
      publicTemplate: template({ ...this.own, ...forPublic }),
      privateTemplate: template({ ...this.own, CKA_PRIVATE: true, CKA_SENSITIVE: true, ...forPrivate }),
    });
  }

  /** A generated AES-256 key that stays in the token. */
  async aes(session: Ulong, values: Values = {}): Promise<Ulong> {
    const made = { ...this.own, CKA_VALUE_LEN: 32, CKA_PRIVATE: true, CKA_ENCRYPT: true, CKA_DECRYPT: true, ...values };
    const given = { session, mechanism: mechanism("CKM_AES_KEY_GEN"), template: template(made) };
    return (await this.call("C_GenerateKey", given)).key;
  }

  /** A secret key of a known value. */
  async secret(
    session: Ulong,
    type: "CKK_AES" | "CKK_GENERIC_SECRET",
    value: Uint8Array,
    values: Values,
  ): Promise<Ulong> {
    const made = {
      CKA_CLASS: CKO.CKO_SECRET_KEY[0],
      CKA_KEY_TYPE: CKK[type][0],
      ...this.own,
      CKA_PRIVATE: true,
      CKA_SENSITIVE: false,
      CKA_EXTRACTABLE: true,
      CKA_VALUE: value,
      ...values,
    };
    return (await this.call("C_CreateObject", { session, template: template(made) })).object;
  }

  async sign(session: Ulong, key: Ulong, how: Mechanism, data: Uint8Array): Promise<Uint8Array> {
    await this.call("C_SignInit", { session, mechanism: how, key });
    return bytesOf(await this.call("C_Sign", { session, data, room: 1024 }));
  }

  /** The public key of a pair as the token gives it out, for node:crypto. */
  async exported(session: Ulong, object: Ulong): Promise<KeyObject> {
    const { CKA_KEY_TYPE: type } = await this.read(session, object, "CKA_KEY_TYPE");
    if (type === CKK.CKK_RSA[0]) {
      const { CKA_MODULUS, CKA_PUBLIC_EXPONENT } = await this.read(
        session,
        object,
        "CKA_MODULUS",
        "CKA_PUBLIC_EXPONENT",
      );
      return jwk({ kty: "RSA", n: base64url(CKA_MODULUS), e: base64url(CKA_PUBLIC_EXPONENT) });
    }
    const { CKA_EC_POINT, CKA_EC_PARAMS } = await this.read(session, object, "CKA_EC_POINT", "CKA_EC_PARAMS");
    const params = Buffer.from(CKA_EC_PARAMS as Uint8Array).toString("hex");
    const found = Object.entries(CURVES).find(([, curve]) => curve.params === params);
    if (found === undefined) {
      return jwk({ kty: "OKP", crv: "Ed25519", x: base64url((CKA_EC_POINT as Uint8Array).subarray(-32)) });
    }
    const [crv, { size }] = found;
    const point = (CKA_EC_POINT as Uint8Array).subarray(-2 * size);
    return jwk({ kty: "EC", crv, x: base64url(point.subarray(0, size)), y: base64url(point.subarray(size)) });
  }
}

/** The label of everything that tests make, so that it is found and destroyed. */
const LABEL = "keywright conformance";
/** The label of what tests rename. */
export const RENAMED = "keywright conformance, renamed";

function base64url(value: AttributeValue): string {
  return Buffer.from(value as Uint8Array).toString("base64url");
}

function jwk(key: Record<string, string>): KeyObject {
  return createPublicKey({ key, format: "jwk" });
}
