import { describe } from "vitest";
import { peer, peerPath } from "../support/peers.ts";
import { lifecycle } from "./suite.ts";

describe.skipIf(!peer("nss") || !peer("openssl"))("with a store", () =>
  lifecycle({
    name: "NSS softokn",
    declare: () => `{ module: ${peerPath("nss")}, label: demo, store: nss }`,
    soPin: false,
  }),
);
