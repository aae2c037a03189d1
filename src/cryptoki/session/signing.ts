/**
 * Signatures and message authentication codes (PKCS#11 3.1, 5.13 and 5.15).
 * @module
 */
import { CKU } from "../../spec/objects.ts";
import { ArgumentError, described } from "../arguments.ts";
import { failedWith } from "../errors.ts";
import { withPin } from "../pin.ts";
import type { Mechanism, Ulong } from "../port.ts";
import type { TokenObject } from "./objects.ts";
import { readOutput } from "./output.ts";
import type { Session } from "./session.ts";

/** What is signed: whole, or in pieces. */
export type Data = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export function sign(session: Session, key: TokenObject, mechanism: Mechanism, data: Data): Promise<Uint8Array> {
  return session.exclusive(async (handle) => {
    await session.call("C_SignInit", { session: handle, mechanism, key: key.handle });
    await authenticateUse(session, handle, key);
    if (data instanceof Uint8Array)
      return readOutput((room) => session.call("C_Sign", { session: handle, data, room }));
    for await (const piece of data) await session.call("C_SignUpdate", { session: handle, data: asBytes(piece) });
    return readOutput((room) => session.call("C_SignFinal", { session: handle, room }));
  });
}

export function verify(
  session: Session,
  key: TokenObject,
  mechanism: Mechanism,
  data: Data,
  signature: Uint8Array,
): Promise<boolean> {
  return session.exclusive(async (handle) => {
    await session.call("C_VerifyInit", { session: handle, mechanism, key: key.handle });
    try {
      if (data instanceof Uint8Array) await session.call("C_Verify", { session: handle, data, signature });
      else {
        for await (const piece of data) await session.call("C_VerifyUpdate", { session: handle, data: asBytes(piece) });
        await session.call("C_VerifyFinal", { session: handle, signature });
      }
      return true;
    } catch (error) {
      if (failedWith(error, "CKR_SIGNATURE_INVALID", "CKR_SIGNATURE_LEN_RANGE")) return false;
      throw error;
    }
  });
}

/** A piece of what is signed. @throws ArgumentError for one that is no bytes */
export function asBytes(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return piece;
  throw new ArgumentError(`a piece of the data is ${described(piece)}, not bytes (Uint8Array)`);
}

/** A key with CKA_ALWAYS_AUTHENTICATE wants the PIN between Init and the first data (4.9, 5.6.8). */
export async function authenticateUse(session: Session, handle: Ulong, key: TokenObject): Promise<void> {
  if (!(await key.alwaysAuthenticate())) return;
  const userType = CKU.CKU_CONTEXT_SPECIFIC[0];
  await withPin(session.pin, session.token, (pin) => session.call("C_Login", { session: handle, userType, pin }));
}
