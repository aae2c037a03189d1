/**
 * Random numbers and digests (PKCS#11 3.1, 5.12 and 5.21).
 * @module
 */
import type { Mechanism } from "../port.ts";
import { readOutput } from "./output.ts";
import type { Session } from "./session.ts";
import { asBytes, type Data } from "./signing.ts";

export async function random(session: Session, length: number): Promise<Uint8Array> {
  return (await session.call("C_GenerateRandom", { session: session.handle, length })).random;
}

export function digest(session: Session, mechanism: Mechanism, data: Data): Promise<Uint8Array> {
  return session.exclusive(async (handle) => {
    await session.call("C_DigestInit", { session: handle, mechanism });
    if (data instanceof Uint8Array) {
      return readOutput((room) => session.call("C_Digest", { session: handle, data, room }));
    }
    for await (const piece of data) await session.call("C_DigestUpdate", { session: handle, data: asBytes(piece) });
    return readOutput((room) => session.call("C_DigestFinal", { session: handle, room }));
  });
}
