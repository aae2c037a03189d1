/**
 * Random numbers and digests (PKCS#11 3.1, 5.12 and 5.21).
 * @module
 */
import type { Mechanism } from "../port.ts";
import { readOutput } from "./output.ts";
import { type Data, Pieces } from "./pieces.ts";
import type { Session } from "./session.ts";

export async function random(session: Session, length: number): Promise<Uint8Array> {
  const { random } = await session.run([], () => session.call("C_GenerateRandom", { session: session.handle, length }));
  return random;
}

export function digest(session: Session, mechanism: Mechanism, data: Data): Promise<Uint8Array> {
  const pieces = new Pieces(data);
  return session.runExclusive(
    [],
    async (handle, pool) => {
      await pool.call("C_DigestInit", { session: handle, mechanism });
      if (data instanceof Uint8Array) {
        return readOutput((room) => pool.call("C_Digest", { session: handle, data, room }));
      }
      for await (const piece of pieces) await pool.call("C_DigestUpdate", { session: handle, data: piece });
      return readOutput((room) => pool.call("C_DigestFinal", { session: handle, room }));
    },
    pieces.whyNotAgain,
  );
}
