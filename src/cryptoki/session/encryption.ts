/**
 * Encryption and decryption (PKCS#11 3.1, 5.8 and 5.10).
 * @module
 */
import type { Mechanism } from "../port.ts";
import type { TokenObject } from "./objects.ts";
import { readOutput } from "./output.ts";
import type { Session } from "./session.ts";
import { authenticateUse } from "./signing.ts";

/** Room beyond the data: a block of padding, a tag, or a whole RSA-8192 block. */
const EXTRA = 1024;

export function encrypt(
  session: Session,
  key: TokenObject,
  mechanism: Mechanism,
  data: Uint8Array,
): Promise<Uint8Array> {
  return session.runExclusive([key], async (handle, pool) => {
    await pool.call("C_EncryptInit", { session: handle, mechanism, key: key.handle });
    return readOutput((room) => pool.call("C_Encrypt", { session: handle, data, room }), data.length + EXTRA);
  });
}

export function decrypt(
  session: Session,
  key: TokenObject,
  mechanism: Mechanism,
  data: Uint8Array,
): Promise<Uint8Array> {
  return session.runExclusive([key], async (handle, pool) => {
    await pool.call("C_DecryptInit", { session: handle, mechanism, key: key.handle });
    await authenticateUse(session, handle, key);
    return readOutput((room) => pool.call("C_Decrypt", { session: handle, data, room }), data.length + EXTRA);
  });
}
