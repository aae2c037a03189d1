/** The other libraries' ways. They are in this folder's own workspace, and may be missing: see tools/bench.mjs. */
import { createRequire } from "node:module";
import type { Awaitable } from "../src/cryptoki/port.ts";
import type { WorkerSettings } from "./workers.ts";

/** What a way can do, by the names that a worker is sent; each is given a number of its own. */
export interface Ready {
  readonly operations: Readonly<Record<string, (i: number) => Awaitable<unknown>>>;
  close(): Awaitable<void>;
}

export type GetReady = (settings: WorkerSettings) => Promise<Ready>;

/** The named curve P-256, as CKA_EC_PARAMS. */
export const P256 = Uint8Array.of(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07);

const DATA = Buffer.alloc(32, 9);
const require = createRequire(import.meta.url);

/** What is used of pkcs11js. */
interface Pkcs11js {
  new (): {
    load(path: string): void;
    C_Initialize(args: { flags: number }): void;
    C_Finalize(): void;
    C_GetSlotList(tokenPresent: boolean): Buffer[];
    C_GetTokenInfo(slot: Buffer): { label: string };
    C_OpenSession(slot: Buffer, flags: number): Buffer;
    C_Login(session: Buffer, user: number, pin: string): void;
    C_GetSessionInfo(session: Buffer): unknown;
    C_FindObjectsInit(session: Buffer, template: { type: number; value: string | number }[]): void;
    C_FindObjects(session: Buffer): Buffer | null;
    C_FindObjectsFinal(session: Buffer): void;
    C_SignInit(session: Buffer, mechanism: { mechanism: number }, key: Buffer): void;
    C_Sign(session: Buffer, data: Buffer, out: Buffer): Buffer;
  };
}

const [CKA_CLASS, CKA_LABEL, CKO_PRIVATE_KEY] = [0x0, 0x3, 0x3];
const [CKM_ECDSA, CKM_SHA256_RSA_PKCS] = [0x1041, 0x40];
const [CKF_OS_LOCKING_OK, RW_SESSION] = [0x2, 0x6];

export const pkcs11js: GetReady = async ({ module, label, pin }) => {
  const { PKCS11 } = require("pkcs11js") as { PKCS11: Pkcs11js };
  const p11 = new PKCS11();
  p11.load(module);
  p11.C_Initialize({ flags: CKF_OS_LOCKING_OK });
  const slot = p11.C_GetSlotList(true).find((one) => p11.C_GetTokenInfo(one).label.trim() === label);
  const session = p11.C_OpenSession(slot!, RW_SESSION);
  p11.C_Login(session, 1, pin);
  const key = (label: string) => {
    p11.C_FindObjectsInit(session, [
      { type: CKA_CLASS, value: CKO_PRIVATE_KEY },
      { type: CKA_LABEL, value: label },
    ]);
    const found = p11.C_FindObjects(session);
    p11.C_FindObjectsFinal(session);
    if (found === null) throw new Error(`no key ${label}`);
    return found;
  };
  const out = Buffer.alloc(256);
  const sign = (mechanism: number, by: Buffer) => () => {
    p11.C_SignInit(session, { mechanism }, by);
    return p11.C_Sign(session, DATA, out);
  };
  return {
    operations: {
      info: () => p11.C_GetSessionInfo(session),
      ecdsa: sign(CKM_ECDSA, key("ec")),
      rsa: sign(CKM_SHA256_RSA_PKCS, key("rsa")),
    },
    close: () => p11.C_Finalize(),
  };
};

/** What is used of graphene-pk11. */
interface Graphene {
  Module: { load(path: string): GrapheneModule };
  SessionFlag: { SERIAL_SESSION: number; RW_SESSION: number };
  ObjectClass: { PRIVATE_KEY: number };
}

interface GrapheneModule {
  initialize(): void;
  finalize(): void;
  getSlots(tokenPresent: boolean): {
    readonly length: number;
    items(i: number): { getToken(): { label: string }; open(flags: number): GrapheneSession };
  };
}

interface GrapheneSession {
  login(pin: string): void;
  /** Protected there, and the only way to C_GetSessionInfo. */
  getInfo(): void;
  find(match: object): { items(i: number): { toType(): unknown } };
  createSign(mechanism: string, key: unknown): { once(data: Buffer): Buffer };
}

export const graphene: GetReady = async ({ module, label, pin }) => {
  const { Module, SessionFlag, ObjectClass } = require("graphene-pk11") as Graphene;
  const opened = Module.load(module);
  opened.initialize();
  const slots = opened.getSlots(true);
  const all = Array.from({ length: slots.length }, (_, i) => slots.items(i));
  const slot = all.find((one) => one.getToken().label.trim() === label);
  const session = slot!.open(SessionFlag.SERIAL_SESSION | SessionFlag.RW_SESSION);
  session.login(pin);
  const key = (label: string) => session.find({ class: ObjectClass.PRIVATE_KEY, label }).items(0).toType();
  const [ec, rsa] = [key("ec"), key("rsa")];
  return {
    operations: {
      info: () => session.getInfo(),
      ecdsa: () => session.createSign("ECDSA", ec).once(DATA),
      rsa: () => session.createSign("SHA256_RSA_PKCS", rsa).once(DATA),
    },
    close: () => opened.finalize(),
  };
};
