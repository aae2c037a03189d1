import { afterAll, beforeAll, describe } from "vitest";
import { peer } from "../support/peers.ts";
import { type SoftHsm, softHsm } from "../support/softhsm.ts";
import { lifecycle } from "./suite.ts";

describe.skipIf(!peer("softhsm2") || !peer("openssl"))("with a store", () => {
  let hsm: SoftHsm;
  let tokens = 0;
  beforeAll(() => {
    hsm = softHsm();
  });
  afterAll(() => hsm.remove());
  lifecycle({
    name: "SoftHSM2",
    declare: () => `{ module: ${hsm.path}, label: token-${++tokens}, store: ${hsm.store} }`,
  });
});
