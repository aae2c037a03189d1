/**
 * Peers: other people's programs and libraries that the tests run against, all from Debian's packages.
 *
 * A test asks for one with `peer("softhsm2")`; what is missing is skipped here and listed by name at the end, and is a
 * failure with KEYWRIGHT_PEERS=required (as CI sets it).
 */
import { missingPeers } from "./peers.ts";

export function setup(): void {
  const missing = missingPeers();
  if (missing.length > 0 && process.env.KEYWRIGHT_PEERS === "required") {
    throw new Error(`missing peers: ${missing.join(", ")}; install them with: npm run peers`);
  }
}

export function teardown(): void {
  const missing = missingPeers();
  if (missing.length > 0) {
    console.log(`\nNot tested, because these peers are missing: ${missing.join(", ")}`);
    console.log("Install them with: npm run peers (apt-get, root)");
  }
}
