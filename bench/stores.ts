/** Tokens to measure: of SoftHSM2 and of the built-in kind, each in a folder of its own. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mechanism } from "../src/cryptoki/mechanisms.ts";
import { openModule, Pin } from "../src/index.ts";
import { P256 } from "./others.ts";
import type { WorkerSettings } from "./workers.ts";

export const LIBRARY = "/usr/lib/softhsm/libsofthsm2.so";
export const [PIN, SO_PIN] = ["12345678", "87654321"];

/** A token of SoftHSM2. */
export function softHsm(folder: string, label: string): WorkerSettings {
  const tokens = join(folder, "tokens");
  mkdirSync(tokens, { recursive: true });
  const configuration = join(folder, "softhsm2.conf");
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const environment = { SOFTHSM2_CONF: configuration };
  const args = ["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN];
  execFileSync("softhsm2-util", args, { env: { ...process.env, ...environment }, stdio: "ignore" });
  return { module: LIBRARY, environment, label, pin: PIN, state: join(folder, "state") };
}

/** A token of the built-in kind. Its cost of a login is the usual one. */
export async function builtIn(folder: string, label: string): Promise<WorkerSettings> {
  mkdirSync(folder, { recursive: true });
  const settings = {
    module: "softtoken",
    store: join(folder, "store.db"),
    label,
    pin: PIN,
    state: join(folder, "state"),
  };
  const module = await openModule(settings.module, { store: settings.store, state: settings.state });
  const [token] = await module.tokens();
  await token!.initialise(label, Pin.from(SO_PIN));
  await token!.initialisePin(Pin.from(SO_PIN), Pin.from(PIN));
  await module.close();
  return settings;
}

/** Generates the keys `ec` (P-256) and `rsa` (2048 bits) in a token. */
export async function addKeys(settings: WorkerSettings): Promise<WorkerSettings> {
  const { module: name, environment, store, label, state } = settings;
  const module = await openModule(name, {
    state,
    // A library is one instance per process, and this one has others to open.
    ...(environment === undefined ? {} : { environment, isolation: "process" as const }),
    ...(store === undefined ? {} : { store }),
  });
  const token = await module.token({ label });
  await token.withSession({ user: "USER", pin: Pin.from(PIN), write: true }, async (session) => {
    const publicKey = { CKA_TOKEN: true, CKA_VERIFY: true };
    const privateKey = { CKA_TOKEN: true, CKA_PRIVATE: true, CKA_SENSITIVE: true, CKA_SIGN: true };
    await session.generateKeyPair(
      mechanism("CKM_EC_KEY_PAIR_GEN"),
      { ...publicKey, CKA_EC_PARAMS: P256, CKA_LABEL: "ec" },
      { ...privateKey, CKA_LABEL: "ec" },
    );
    await session.generateKeyPair(
      mechanism("CKM_RSA_PKCS_KEY_PAIR_GEN"),
      { ...publicKey, CKA_MODULUS_BITS: 2048, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1), CKA_LABEL: "rsa" },
      { ...privateKey, CKA_LABEL: "rsa" },
    );
  });
  await module.close();
  return { ...settings, signs: true };
}
