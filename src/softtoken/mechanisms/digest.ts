/**
 * Digests. PKCS#11 3.1, 6.18 to 6.26.
 * @module
 */
import { createHash } from "node:crypto";
import type { Definitions } from "./definition.ts";
import { noParameter } from "./definition.ts";
import { HASHES } from "./hashes.ts";

export const digestMechanisms: Definitions = HASHES.map(({ name, length, digest }) => [
  digest,
  {
    sizes: [0, 0],
    digest(mechanism) {
      noParameter(mechanism);
      const hash = createHash(name);
      return { length, update: (data) => void hash.update(data), final: () => hash.digest() };
    },
  },
]);
