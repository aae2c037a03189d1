/** One token has one memory of wrong PINs, however its module and its store are written. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import { openGuarded } from "../../src/modules/guarded.ts";
import type { ModuleReference } from "../../src/modules/index.ts";
import { reachOf } from "../../src/modules/reach.ts";
import { locate } from "../../src/modules/stores.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { peer, peerPath } from "../support/peers.ts";

function folder(): string {
  const made = realpathSync(mkdtempSync(join(tmpdir(), "keywright-reach-")));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  mkdirSync(join(made, "store"));
  symlinkSync(join(made, "store"), join(made, "link"));
  return made;
}

test.skipIf(!peer("softhsm2"))(
  "a bare name, a link and the file itself are one module; another store is another",
  () => {
    const inside = folder();
    const module = peerPath("softhsm2")!;
    symlinkSync(module, join(inside, "mine.so"));
    const reach = (name: string, store = "/s") => reachOf({ module: name, environment: { SOFTHSM2_CONF: store } });
    for (const name of ["libsofthsm2.so", "softhsm2", join(inside, "mine.so")]) expect(reach(name)).toBe(reach(module));
    expect(reach(module, "/t")).not.toBe(reach(module));
  },
);

test("folders are followed through links, in variables too, also where they are not there yet", () => {
  const inside = folder();
  const reach = (path: string) =>
    reachOf({ module: "libnone.so", environment: { A_STORE: path, A_MODE: "fast" }, store: path });
  for (const end of ["", "/sub/not/yet"]) {
    for (const other of ["link", "./store/../store", "store/"]) {
      expect(reach(`${inside}/${other}${end}`)).toBe(reach(`${inside}/store${end}`));
    }
  }
  expect(reach(inside)).not.toBe(reach(`${inside}/store`));
});

test("NSS's configuration and TPM2's variables are the same however they are written, or come from a declared store", () => {
  const inside = folder();
  const store = join(inside, "store");
  const nss = (reserved: string) => reachOf({ module: "libsoftokn3.so", reserved });
  const declared = reachOf(locate({ module: "libsoftokn3.so", store, label: "demo" }).reference);
  for (const path of [store, `${inside}/link`, `${store}/.`]) {
    expect(nss(`configdir='sql:${path}'`)).toBe(declared);
    expect(nss(`flags= keyPrefix='' configdir=sql:${path} secmod="secmod.db"`)).toBe(declared);
  }
  expect(nss(`configdir='sql:${inside}'`)).not.toBe(declared);
  expect(nss(`configdir='sql:${store}' keyPrefix='other'`)).not.toBe(declared);
  const tpm = (reference: Omit<ModuleReference, "module">) =>
    reachOf(locate({ module: "libtpm2_pkcs11.so.1", ...reference }).reference);
  expect(tpm({ store: join(inside, "link") })).toBe(tpm({ environment: { TPM2_PKCS11_STORE: store } }));
  expect(tpm({ store: inside })).not.toBe(tpm({ store }));
});

test.skipIf(!peer("nss"))("a PIN that an NSS database refused is not sent to it by another path", async () => {
  const inside = folder();
  const sent: string[] = [];
  const open = async (module: string, store: string) => {
    const opened = await Module.open(
      openGuarded({ module, store, label: "demo" }, { memory: new PinMemory(join(inside, "state")) }, (inner) => ({
        call: (fn, args) => {
          if (fn === "C_Login") sent.push(store);
          return inner.call(fn, args);
        },
      })),
    );
    onTestFinished(() => opened.close());
    return opened.token({ label: "demo" });
  };
  const token = await open(peerPath("nss")!, join(inside, "store"));
  await token.initialisePin(Pin.from(new Uint8Array()), Pin.from("1234-user"));
  sent.length = 0;
  const wrong = { user: "USER" as const, pin: Pin.from("wrong") };
  await expect(token.withSession(wrong, () => 1)).rejects.toThrow("the user PIN of demo");
  const other = await open("libsoftokn3.so", join(inside, "link"));
  await expect(other.withSession(wrong, () => 1)).rejects.toThrow("not sent: demo refused this user PIN");
  expect(sent).toEqual([join(inside, "store")]);
});
