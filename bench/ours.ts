/** This library's ways to a token: its port, wherever the module runs, and the comfortable API. */
import { utf8 } from "../src/codec/bytes.ts";
import { toTemplate } from "../src/cryptoki/attributes.ts";
import { after } from "../src/cryptoki/awaitable.ts";
import { ecdsa, mechanism, rsaPkcs1 } from "../src/cryptoki/mechanisms.ts";
import type { Awaitable, Cryptoki, Ulong } from "../src/cryptoki/port.ts";
import { openModule, Pin } from "../src/index.ts";
import { openProvider, type Placement } from "../src/modules/index.ts";
import { type GetReady, P256 } from "./others.ts";
import type { WorkerSettings } from "./workers.ts";

const DATA = new Uint8Array(32).fill(9);
const RW_SESSION = 6;

export function port(placement: Placement): GetReady {
  return async (settings) => {
    const { module, environment, store, label, pin, objects = 1 } = settings;
    const provider = openProvider({
      module,
      placement,
      ...(environment === undefined ? {} : { environment }),
      ...(store === undefined ? {} : { store }),
    });
    const app = await provider.open();
    await app.call("C_Initialize", { args: {} });
    const { session } = await app.call("C_OpenSession", { slot: await slotOf(app, label), flags: RW_SESSION });
    await app.call("C_Login", { session, userType: 1, pin: utf8(pin) });

    const key = async (label: string) =>
      (await find(app, session, { CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: label }))[0];
    const keys = settings.signs === true ? { ec: await key("ec"), rsa: await key("rsa") } : {};
    const sign = (how: ReturnType<typeof mechanism>, key: Ulong | undefined) => () =>
      after(
        () => app.call("C_SignInit", { session, mechanism: how, key: key! }),
        () => app.call("C_Sign", { session, data: DATA, room: 256 }),
      );
    const pair = (how: ReturnType<typeof mechanism>, kind: Parameters<typeof toTemplate>[0]) => (i: number) =>
      app.call("C_GenerateKeyPair", {
        session,
        mechanism: how,
        publicTemplate: toTemplate({ CKA_TOKEN: true, CKA_VERIFY: true, CKA_LABEL: `pair ${i}`, ...kind }),
        privateTemplate: toTemplate({
          CKA_TOKEN: true,
          CKA_PRIVATE: true,
          CKA_SENSITIVE: true,
          CKA_SIGN: true,
          CKA_LABEL: `pair ${i}`,
        }),
      });
    const create = (i: number) => app.call("C_CreateObject", { session, template: secretKey(i) });
    return {
      operations: {
        info: () => app.call("C_GetSessionInfo", { session }),
        ecdsa: sign(ecdsa(), keys.ec),
        rsa: sign(rsaPkcs1("SHA-256"), keys.rsa),
        "generate-ec": pair(mechanism("CKM_EC_KEY_PAIR_GEN"), { CKA_EC_PARAMS: P256 }),
        "generate-rsa": pair(mechanism("CKM_RSA_PKCS_KEY_PAIR_GEN"), {
          CKA_MODULUS_BITS: 2048,
          CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1),
        }),
        create,
        find: (i) => findFirst(app, session, i % objects),
      },
      close: async () => {
        await app.call("C_Finalize", {});
        await provider.close();
      },
    };
  };
}

async function slotOf(app: Cryptoki, label: string): Promise<Ulong> {
  const { slots } = await app.call("C_GetSlotList", { tokenPresent: true });
  for (const slot of slots) {
    if ((await app.call("C_GetTokenInfo", { slot })).info.label === label) return slot;
  }
  throw new Error(`no token ${label}`);
}

/** A private secret key of the token, `object I`. */
function secretKey(i: number) {
  return toTemplate({
    CKA_CLASS: "CKO_SECRET_KEY",
    CKA_KEY_TYPE: "CKK_GENERIC_SECRET",
    CKA_TOKEN: true,
    CKA_PRIVATE: true,
    CKA_SENSITIVE: true,
    CKA_LABEL: `object ${i}`,
    CKA_VALUE: DATA,
  });
}

async function find(app: Cryptoki, session: Ulong, match: Parameters<typeof toTemplate>[0]): Promise<readonly Ulong[]> {
  await app.call("C_FindObjectsInit", { session, template: toTemplate(match) });
  const { objects } = await app.call("C_FindObjects", { session, max: 10 });
  await app.call("C_FindObjectsFinal", { session });
  return objects;
}

/** Without a promise where the module answers at once. */
function findFirst(app: Cryptoki, session: Ulong, i: number): Awaitable<unknown> {
  return after(
    () => app.call("C_FindObjectsInit", { session, template: toTemplate({ CKA_LABEL: `object ${i}` }) }),
    () =>
      after(
        () => app.call("C_FindObjects", { session, max: 10 }),
        ({ objects }) => {
          if (objects.length !== 1) throw new Error(`${objects.length} objects are called object ${i}`);
          return app.call("C_FindObjectsFinal", { session });
        },
      ),
  );
}

/** `openModule`, `withSession`, `sign`: with the PIN guard, and a PKCS#11 session per operation. */
export const comfortable: GetReady = async ({ module, environment, label, pin, state }: WorkerSettings) => {
  const opened = await openModule(module, { state, ...(environment === undefined ? {} : { environment }) });
  const token = await opened.token({ label });
  let leave = () => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  let inside: Promise<void> = Promise.resolve();
  const session = await new Promise<Parameters<Parameters<typeof token.withSession>[1]>[0]>((resolve, reject) => {
    inside = token.withSession({ user: "USER", pin: Pin.from(pin), write: true }, (session) => {
      resolve(session);
      return left;
    });
    inside.catch(reject);
  });
  const ec = await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "ec" });
  const rsa = await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "rsa" });
  const [forEc, forRsa] = [ecdsa(), rsaPkcs1("SHA-256")];
  return {
    operations: {
      info: () => session.call("C_GetSessionInfo", { session: session.handle }),
      ecdsa: () => session.sign(ec, forEc, DATA),
      rsa: () => session.sign(rsa, forRsa, DATA),
    },
    close: async () => {
      leave();
      await inside;
      await opened.close();
    },
  };
};
