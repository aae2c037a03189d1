import { describe } from "vitest";
import { peer } from "../support/peers.ts";
import { softHsmSubject } from "./softhsm.ts";
import { conformance } from "./suite.ts";

// Every kind of argument and reply crosses the boundary in these; what the module does is tested in softhsm.test.ts.
describe.skipIf(!peer("softhsm2"))("conformance", () =>
  conformance(softHsmSubject("thread"), [
    "information",
    "sessions",
    "objects",
    "operations",
    "wrapping",
    "persistence",
  ]),
);
