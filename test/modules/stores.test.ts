import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { locate } from "../../src/modules/stores.ts";

const SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "keywright-store-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const mode = (path: string) => statSync(path).mode & 0o777;

test("SoftHSM2 gets a configuration of its own, which nobody else can read and which is not written twice", async () => {
  const store = join(folder(), "new", "store");
  const { reference, prepare } = locate({ module: SOFTHSM, store });
  const configuration = join(store, "softhsm2.conf");
  expect(reference).toEqual({ module: SOFTHSM, environment: { SOFTHSM2_CONF: configuration } });
  await prepare();
  expect([mode(store), mode(join(store, "tokens")), mode(configuration)]).toEqual([0o700, 0o700, 0o600]);
  expect(readFileSync(configuration, "utf8")).toContain(`directories.tokendir = ${store}/tokens\n`);
  writeFileSync(configuration, "objectstore.backend = db\n");
  await prepare();
  expect(readFileSync(configuration, "utf8")).toBe("objectstore.backend = db\n");
});

test("a folder that SoftHSM2's configuration cannot name is refused", () => {
  expect(() => locate({ module: SOFTHSM, store: "/srv/#1" })).toThrow("cannot use a folder with #");
});

test("what is declared of environment and pReserved wins over the store", () => {
  const tpm = locate({
    module: "libtpm2_pkcs11.so.1",
    store: "/srv/tpm",
    environment: { TPM2_PKCS11_BACKEND: "fapi", TPM2_PKCS11_TCTI: "swtpm:port=1" },
  });
  expect(tpm.reference.environment).toEqual({
    TPM2_PKCS11_STORE: "/srv/tpm",
    TPM2_PKCS11_BACKEND: "fapi",
    TPM2_PKCS11_LOG_LEVEL: "0",
    TSS2_LOG: "fapi+NONE",
    TPM2_PKCS11_TCTI: "swtpm:port=1",
  });
  const nss = locate({ module: "libsoftokn3.so", store: "/srv/nss", reserved: "configdir='sql:/other'" });
  expect(nss.reference.reserved).toBe("configdir='sql:/other'");
});

test("NSS is told the folder and the label, both quoted", () => {
  const { reference } = locate({ module: "libsoftokn3.so", store: "/srv/it's", label: "the\\key's" });
  expect(reference.reserved).toBe(
    "configdir='sql:/srv/it\\'s' certPrefix='' keyPrefix='' secmod='secmod.db' flags= dbTokenDescription='the\\\\key\\'s'",
  );
});

test("a module whose keys are in no folder refuses a store", () => {
  expect(() => locate({ module: "libykcs11.so.2", store: "/srv/piv" })).toThrow(
    "does not keep its objects in a folder",
  );
});
