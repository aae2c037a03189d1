import { afterAll } from "vitest";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import { lifecycle } from "./suite.ts";

if (peer("softhsm2") && peer("openssl")) {
  const hsm = softHsm();
  afterAll(() => hsm.remove());
  let tokens = 0;
  lifecycle({
    name: "SoftHSM2",
    declare: () =>
      `{ module: ${hsm.path}, label: token-${++tokens}, environment: { SOFTHSM2_CONF: ${hsm.environment.SOFTHSM2_CONF} } }`,
  });
}
