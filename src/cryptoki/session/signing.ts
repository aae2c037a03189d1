/**
 * Signatures and message authentication codes (PKCS#11 3.1, 5.13 and 5.15).
 * @module
 */
import { failedWith } from "../errors.ts";
import type { Mechanism, Ulong } from "../port.ts";
import type { TokenObject } from "./objects.ts";
import { readOutput } from "./output.ts";
import { type Data, Pieces } from "./pieces.ts";
import type { Session } from "./session.ts";

export function sign(session: Session, key: TokenObject, mechanism: Mechanism, data: Data): Promise<Uint8Array> {
  const pieces = new Pieces(data);
  return session.runExclusive(
    [key],
    async (handle, pool) => {
      await pool.call("C_SignInit", { session: handle, mechanism, key: key.handle });
      await authenticateUse(session, handle, key);
      if (data instanceof Uint8Array) return readOutput((room) => pool.call("C_Sign", { session: handle, data, room }));
      for await (const piece of pieces) await pool.call("C_SignUpdate", { session: handle, data: piece });
      return readOutput((room) => pool.call("C_SignFinal", { session: handle, room }));
    },
    pieces.whyNotAgain,
  );
}

export function verify(
  session: Session,
  key: TokenObject,
  mechanism: Mechanism,
  data: Data,
  signature: Uint8Array,
): Promise<boolean> {
  const pieces = new Pieces(data);
  return session.runExclusive(
    [key],
    async (handle, pool) => {
      await pool.call("C_VerifyInit", { session: handle, mechanism, key: key.handle });
      try {
        if (data instanceof Uint8Array) await pool.call("C_Verify", { session: handle, data, signature });
        else {
          for await (const piece of pieces) await pool.call("C_VerifyUpdate", { session: handle, data: piece });
          await pool.call("C_VerifyFinal", { session: handle, signature });
        }
        return true;
      } catch (error) {
        if (failedWith(error, "CKR_SIGNATURE_INVALID", "CKR_SIGNATURE_LEN_RANGE")) return false;
        throw error;
      }
    },
    pieces.whyNotAgain,
  );
}

/** A key with CKA_ALWAYS_AUTHENTICATE wants the PIN between Init and the first data (4.9, 5.6.8). */
export async function authenticateUse(session: Session, handle: Ulong, key: TokenObject): Promise<void> {
  if (await key.wantsPin()) await session.token.logins.authenticate(session, handle);
}
