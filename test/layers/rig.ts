/** A token with keys, and connections to it through layers. */
import type { Cryptoki, Mechanism, Ulong } from "../../src/cryptoki/port.ts";
import { CKM, type MechanismName } from "../../src/spec/mechanisms.ts";
import { application, openSession, PIN } from "../softtoken/plain.ts";
import { bytes, rig as plainRig, type Rig, template } from "../softtoken/rig.ts";

export { template } from "../softtoken/plain.ts";
export { bytes, rvOf } from "../softtoken/rig.ts";

const P256 = Uint8Array.from(Buffer.from("06082a8648ce3d030107", "hex"));

/** A token with the keys `www` (id 01, EC), `mail` (id 02, EC) and `box` (id 03, AES, extractable). */
export async function tokenWithKeys(): Promise<Rig> {
  const rig = await plainRig();
  const { app, session } = rig;
  for (const [label, id] of [
    ["www", 1],
    ["mail", 2],
  ] as const) {
    await app.call("C_GenerateKeyPair", {
      session,
      mechanism: { type: CKM.CKM_EC_KEY_PAIR_GEN[0] },
      publicTemplate: template({
        CKA_TOKEN: true,
        CKA_LABEL: label,
        CKA_ID: Uint8Array.of(id),
        CKA_EC_PARAMS: P256,
        CKA_VERIFY: true,
      }),
      privateTemplate: template({
        CKA_TOKEN: true,
        CKA_LABEL: label,
        CKA_ID: Uint8Array.of(id),
        CKA_SIGN: true,
        CKA_DERIVE: true,
        CKA_EXTRACTABLE: true,
      }),
    });
  }
  await app.call("C_GenerateKey", {
    session,
    mechanism: { type: CKM.CKM_AES_KEY_GEN[0] },
    template: template({
      CKA_TOKEN: true,
      CKA_LABEL: "box",
      CKA_ID: Uint8Array.of(3),
      CKA_VALUE_LEN: 16,
      CKA_WRAP: true,
      CKA_UNWRAP: true,
      CKA_ENCRYPT: true,
      CKA_DECRYPT: true,
      CKA_EXTRACTABLE: true,
      CKA_SENSITIVE: false,
    }),
  });
  return rig;
}

/** A connection: an application of its own, through layers, with a session that is logged in. */
export interface Connection {
  readonly app: Cryptoki;
  readonly session: number;
  /** The handle that the token has, whatever the layers show. */
  handle(label: string, objectClass: number): Promise<Ulong>;
}

export async function connect(rig: Rig, layer: (inner: Cryptoki) => Cryptoki, login = true): Promise<Connection> {
  const inner = await application(rig.provider);
  const app = layer(inner);
  const session = await openSession(app, rig.slot);
  if (login) await app.call("C_Login", { session, userType: 1, pin: PIN });
  return {
    app,
    session,
    async handle(label, objectClass) {
      await inner.call("C_FindObjectsInit", {
        session,
        template: template({ CKA_LABEL: label, CKA_CLASS: objectClass }),
      });
      const { objects } = await inner.call("C_FindObjects", { session, max: 2 });
      await inner.call("C_FindObjectsFinal", { session });
      return objects[0]!;
    },
  };
}

export const PUBLIC = 2;
export const PRIVATE = 3;
export const SECRET = 4;

export function how(name: MechanismName, parameter?: Mechanism["parameter"]): Mechanism {
  return parameter === undefined ? { type: CKM[name][0] } : { type: CKM[name][0], parameter };
}

export async function signWith(
  { app, session }: Connection,
  key: Ulong,
  data = new Uint8Array(32),
): Promise<Uint8Array> {
  await app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key });
  return bytes((await app.call("C_Sign", { session, data, room: 1000 })).output);
}

/** The labels of everything that a search finds. */
export async function shownBy({ app, session }: Connection): Promise<readonly string[]> {
  await app.call("C_FindObjectsInit", { session, template: [] });
  const { objects } = await app.call("C_FindObjects", { session, max: 100 });
  await app.call("C_FindObjectsFinal", { session });
  const labels: string[] = [];
  for (const object of objects) {
    const { values } = await app.call("C_GetAttributeValue", {
      session,
      object,
      requests: [{ type: 0 }, { type: 3 }],
    });
    const [cls, label] = values.values;
    labels.push(`${cls!.value} ${Buffer.from(label!.value as Uint8Array).toString()}`);
  }
  return labels.sort();
}
