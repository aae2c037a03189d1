/** Our client to our server: what two Keywrights have to say to each other is all that the built-in token can. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider } from "../../src/modules/index.ts";
import { softToken } from "../../src/softtoken/index.ts";
import { served } from "../support/served.ts";
import type { Subject } from "./kit.ts";
import { conformance } from "./suite.ts";
import { initialiseToken, LABEL } from "./targets.ts";

const subject: Subject = {
  name: "the built-in token, over a socket",
  async open() {
    const folder = mkdtempSync(join(tmpdir(), "keywright-softtoken-"));
    const inner = softToken({ store: join(folder, "store"), scryptCost: 10 });
    const server = await served(inner, { report: (fault, error) => console.error(fault, error) });
    const provider = openProvider({ module: server.address });
    const [soPin, userPin] = [utf8("so PIN 1234"), utf8("user PIN 1234")];
    await initialiseToken(provider, soPin, userPin);
    return {
      provider,
      label: LABEL,
      soPin,
      userPin,
      async remove() {
        await server.close();
        await inner.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};

describe("conformance", () => conformance(subject));
