import { describe } from "vitest";
import { peer } from "../support/peers.ts";
import { softHsmSubject } from "./softhsm.ts";
import { conformance } from "./suite.ts";

describe.skipIf(!peer("softhsm2"))("conformance", () => conformance(softHsmSubject("direct")));
