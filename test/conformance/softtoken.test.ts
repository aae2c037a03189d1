import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { softToken } from "../../src/softtoken/index.ts";
import type { Subject } from "./kit.ts";
import { conformance } from "./suite.ts";
import { initialiseToken, LABEL } from "./targets.ts";

const subject: Subject = {
  name: "the built-in token",
  async open() {
    const folder = mkdtempSync(join(tmpdir(), "keywright-softtoken-"));
    const provider = softToken({ store: join(folder, "store"), scryptCost: 10 });
    const [soPin, userPin] = [utf8("so PIN 1234"), utf8("user PIN 1234")];
    await initialiseToken(provider, soPin, userPin);
    return { provider, label: LABEL, soPin, userPin, remove: () => rmSync(folder, { recursive: true }) };
  },
};

describe("conformance", () => conformance(subject));
