import { afterAll, beforeAll, describe } from "vitest";
import { peer } from "../support/peers.ts";
import { type SoftHsm, softHsm } from "../support/softhsm.ts";
import { faults } from "./faults.ts";

describe.skipIf(!peer("softhsm2"))("with a configuration", () => {
  let hsm: SoftHsm;
  beforeAll(() => {
    hsm = softHsm();
  });
  afterAll(() => hsm.remove());
  faults({
    name: "SoftHSM2",
    storeFolder: () => hsm.tokens,
    codes: ["CKR_DEVICE_ERROR"],
    declare: (label) =>
      `{ module: ${hsm.path}, label: ${label}, environment: { SOFTHSM2_CONF: ${hsm.environment.SOFTHSM2_CONF} } }`,
  });
});
