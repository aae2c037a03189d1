/** The modules that the comfortable API is tested on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Provider } from "../../src/cryptoki/port.ts";
import { openProvider } from "../../src/modules/index.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";

interface Subject {
  name: string;
  open(): { provider: Provider; remove(): void };
}

export const subjects: Subject[] = [
  {
    name: "the built-in token",
    open() {
      const folder = mkdtempSync(join(tmpdir(), "keywright-api-"));
      const provider = openProvider({ module: "softtoken", store: join(folder, "t.db"), scryptCost: 10 });
      return { provider, remove: () => rmSync(folder, { recursive: true }) };
    },
  },
  ...(peer("softhsm2")
    ? [
        {
          name: "SoftHSM2",
          open() {
            const { path, environment, remove } = softHsm();
            return { provider: openProvider({ module: path, environment, placement: "direct" }), remove };
          },
        },
      ]
    : []),
];
