import { afterAll } from "vitest";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import { faults } from "./faults.ts";

if (peer("softhsm2")) {
  const hsm = softHsm();
  afterAll(() => hsm.remove());
  faults({
    name: "SoftHSM2",
    storeFolder: hsm.tokens,
    codes: ["CKR_DEVICE_ERROR"],
    declare: (label) =>
      `{ module: ${hsm.path}, label: ${label}, environment: { SOFTHSM2_CONF: ${hsm.environment.SOFTHSM2_CONF} } }`,
  });
}
