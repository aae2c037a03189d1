/**
 * The token as a Cryptoki: one handler per function, and what all of them share.
 * @module
 */
import { randomFillSync } from "node:crypto";
import { isPromise } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import { fromHandlers } from "../cryptoki/handlers.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Handlers, PinTries, Reply } from "../cryptoki/port.ts";
import { small } from "../cryptoki/ulong.ts";
import { CALL_FLAGS, hasFlag, MECHANISM_FLAGS } from "../spec/flags.ts";
import type { Application } from "./application.ts";
import { generateKey, generateKeyPair } from "./keys/generate.ts";
import * as transfer from "./keys/transfer.ts";
import * as objects from "./objects/handlers.ts";
import * as ciphering from "./operations/ciphering.ts";
import * as digesting from "./operations/digesting.ts";
import * as signing from "./operations/signing.ts";
import type { OperationKind } from "./operations/state.ts";
import { Refusal, refuse } from "./refusal.ts";
import * as sessions from "./sessions.ts";
import * as slots from "./slots.ts";
import { Busy, StoreError } from "./store/errors.ts";
import { isUlong } from "./ulong.ts";

/** What randomFillSync fills at once, in bytes. */
const MOST_RANDOM = 0x7fff_ffff;

/** What a function of an application does; refusals do not name the function, that is added below. */
type Inside = { readonly [F in FunctionName]?: (app: Application, args: Args<F>) => Awaitable<Reply<F>> };

const INSIDE: Inside = {
  C_Initialize(app) {
    if (app.isInitialized) return refuse("CKR_CRYPTOKI_ALREADY_INITIALIZED");
    app.initialize();
    return {};
  },
  C_Finalize(app) {
    app.finalize();
    return {};
  },
  C_GetInfo: slots.getInfo,
  C_GetSlotList: slots.getSlotList,
  C_GetSlotInfo: slots.getSlotInfo,
  C_GetTokenInfo: slots.getTokenInfo,
  C_GetMechanismList: slots.getMechanismList,
  C_GetMechanismInfo: slots.getMechanismInfo,
  C_InitToken: slots.initToken,
  // 5.5.12: slots come and go with tokens that are made and removed; nobody is told.
  C_WaitForSlotEvent: (_app, args) =>
    refuse(hasFlag(small(args.flags), CALL_FLAGS.CKF_DONT_BLOCK[0]) ? "CKR_NO_EVENT" : "CKR_FUNCTION_NOT_SUPPORTED"),
  C_InitPIN: sessions.initPin,
  C_SetPIN: sessions.setPin,
  C_OpenSession: sessions.openSession,
  C_CloseSession: sessions.closeSession,
  C_CloseAllSessions: sessions.closeAllSessions,
  C_GetSessionInfo: sessions.getSessionInfo,
  C_Login: sessions.login,
  C_Logout: sessions.logout,
  C_GetOperationState: unsaveable,
  C_SetOperationState: unsaveable,
  C_CreateObject: objects.createObject,
  C_CopyObject: objects.copyObject,
  C_DestroyObject: objects.destroy,
  C_GetObjectSize: objects.objectSize,
  C_GetAttributeValue: objects.getAttributes,
  C_SetAttributeValue: objects.setAttributes,
  C_FindObjectsInit: objects.findInit,
  C_FindObjects: objects.find,
  C_FindObjectsFinal: objects.findFinal,
  C_DigestInit: digesting.digestInit,
  C_Digest: digesting.digest,
  C_DigestUpdate: digesting.digestUpdate,
  C_DigestKey: digesting.digestKey,
  C_DigestFinal: digesting.digestFinal,
  C_SignInit: (app, args) => signing.init(app, "sign", args),
  C_Sign: signing.sign,
  C_SignUpdate: signing.signUpdate,
  C_SignFinal: signing.signFinal,
  C_SignRecoverInit: (app, args) => signing.init(app, "signRecover", args),
  C_SignRecover: signing.signRecover,
  C_VerifyInit: (app, args) => signing.init(app, "verify", args),
  C_Verify: signing.verify,
  C_VerifyUpdate: signing.verifyUpdate,
  C_VerifyFinal: signing.verifyFinal,
  C_VerifySignatureInit: signing.verifySignatureInit,
  C_VerifySignature: signing.verifySignature,
  C_VerifySignatureUpdate: signing.verifySignatureUpdate,
  C_VerifySignatureFinal: signing.verifySignatureFinal,
  C_VerifyRecoverInit: (app, args) => signing.init(app, "verifyRecover", args),
  C_VerifyRecover: signing.verifyRecover,
  C_EncryptInit: (app, args) => ciphering.init(app, "encrypt", args),
  C_Encrypt: (app, args) => ciphering.whole(app, "encrypt", args),
  C_EncryptUpdate: (app, args) => ciphering.update(app, "encrypt", args),
  C_EncryptFinal: (app, args) => ciphering.final(app, "encrypt", args),
  C_DecryptInit: (app, args) => ciphering.init(app, "decrypt", args),
  C_Decrypt: (app, args) => ciphering.whole(app, "decrypt", args),
  C_DecryptUpdate: (app, args) => ciphering.update(app, "decrypt", args),
  C_DecryptFinal: (app, args) => ciphering.final(app, "decrypt", args),
  C_DigestEncryptUpdate: ciphering.digestEncrypt,
  C_DecryptDigestUpdate: ciphering.decryptDigest,
  C_SignEncryptUpdate: ciphering.signEncrypt,
  C_DecryptVerifyUpdate: ciphering.decryptVerify,
  C_SessionCancel: sessionCancel,
  C_GenerateKey: generateKey,
  C_GenerateKeyPair: generateKeyPair,
  C_WrapKey: transfer.wrapKey,
  C_UnwrapKey: transfer.unwrapKey,
  C_DeriveKey: transfer.deriveKey,
  C_EncapsulateKey: transfer.encapsulateKey,
  C_DecapsulateKey: transfer.decapsulateKey,
  C_SeedRandom(app, args) {
    app.session(args.session);
    return refuse("CKR_RANDOM_SEED_NOT_SUPPORTED");
  },
  C_GenerateRandom(app, args) {
    app.session(args.session);
    if (!isUlong(args.length) || args.length > MOST_RANDOM) {
      return refuse("CKR_ARGUMENTS_BAD", `${args.length} bytes, 0 to ${MOST_RANDOM} are given at once`);
    }
    return { random: randomFillSync(new Uint8Array(Number(args.length))) };
  },
  // 5.21: nothing runs in parallel.
  C_GetFunctionStatus: notParallel,
  C_CancelFunction: notParallel,
};

/** 3.0, 5.6.10: the operations that the flags name, in the bits of CK_MECHANISM_INFO. */
const CANCELLED_BY: readonly (readonly [bit: number, kind: OperationKind])[] = [
  [MECHANISM_FLAGS.CKF_FIND_OBJECTS[0], "find"],
  [MECHANISM_FLAGS.CKF_ENCRYPT[0], "encrypt"],
  [MECHANISM_FLAGS.CKF_DECRYPT[0], "decrypt"],
  [MECHANISM_FLAGS.CKF_DIGEST[0], "digest"],
  [MECHANISM_FLAGS.CKF_SIGN[0], "sign"],
  [MECHANISM_FLAGS.CKF_SIGN_RECOVER[0], "signRecover"],
  [MECHANISM_FLAGS.CKF_VERIFY[0], "verify"],
  [MECHANISM_FLAGS.CKF_VERIFY[0], "verifySignature"],
  [MECHANISM_FLAGS.CKF_VERIFY_RECOVER[0], "verifyRecover"],
];

function sessionCancel(app: Application, args: Args<"C_SessionCancel">): Reply<"C_SessionCancel"> {
  const { operations } = app.session(args.session);
  const flags = small(args.flags);
  for (const [bit, kind] of CANCELLED_BY) if (hasFlag(flags, bit)) operations.end(kind);
  return {};
}

function unsaveable(app: Application, args: { readonly session: number | bigint }): never {
  app.session(args.session);
  return refuse("CKR_STATE_UNSAVEABLE");
}

function notParallel(app: Application, args: { readonly session: number | bigint }): never {
  app.session(args.session);
  return refuse("CKR_FUNCTION_NOT_PARALLEL");
}

/** Whatever went wrong, as what PKCS#11 has for it. */
function named(fn: FunctionName, error: unknown): CryptokiError {
  if (error instanceof CryptokiError) return error;
  if (error instanceof Refusal) return new CryptokiError(fn, error.rv, error.message);
  if (error instanceof Busy) return new CryptokiError(fn, "CKR_FUNCTION_FAILED", error.message, { cause: error });
  if (error instanceof StoreError) {
    return new CryptokiError(fn, error.isFull ? "CKR_DEVICE_MEMORY" : "CKR_DEVICE_ERROR", error.message, {
      cause: error,
      hints: [...error.hints],
    });
  }
  return new CryptokiError(fn, "CKR_GENERAL_ERROR", "", { cause: error });
}

/** A copy of what a call was given: once the call has returned, the caller's memory is its own again. */
function kept<T>(given: T): T {
  if (given instanceof Uint8Array) return Uint8Array.from(given) as T;
  if (Array.isArray(given)) return given.map(kept) as T;
  if (typeof given !== "object" || given === null) return given;
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, kept(value)])) as T;
}

function wipePins(args: object): void {
  for (const [name, value] of Object.entries(args)) if (/pin$/i.test(name) && value !== null) value.fill(0);
}

/** One call: checks C_Initialize, waits for a busy store, names the function in what is refused. */
function outward<F extends FunctionName>(
  app: Application,
  fn: F,
  inside: (app: Application, args: Args<F>) => Awaitable<Reply<F>>,
): (args: Args<F>) => Awaitable<Reply<F>> {
  return (args) => {
    try {
      if (!app.isInitialized && fn !== "C_Initialize") refuse("CKR_CRYPTOKI_NOT_INITIALIZED");
      const reply = inside(app, args);
      return isPromise(reply) ? reply.catch((error: unknown) => Promise.reject(named(fn, error))) : reply;
    } catch (error) {
      if (!(error instanceof Busy)) throw named(fn, error);
    }
    // The store was busy before anything was done: the call is made again when its turn comes.
    const copy = kept(args);
    const again = Promise.resolve(app.patience.write(() => inside(app, copy)));
    return again.catch((error: unknown) => Promise.reject(named(fn, error))).finally(() => wipePins(copy));
  };
}

export function cryptokiOf(app: Application): Cryptoki & PinTries {
  const handlers = Object.entries(INSIDE).map(([fn, inside]) => [
    fn,
    outward(app, fn as FunctionName, inside as Parameters<typeof outward>[2]),
  ]);
  return {
    ...fromHandlers(Object.fromEntries(handlers) as Handlers),
    pinTries: (slot, role) => slots.pinTries(app, slot, role),
  };
}
