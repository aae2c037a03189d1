/** OpenSC's pkcs11-tool uses the keys that were made here, and its keys are used here: on every module that it can load. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { locate } from "../../src/modules/stores.ts";
import { nssForOthers } from "../support/nss.ts";
import { hasCompiler } from "../support/odd.ts";
import { peer, peerPath } from "../support/peers.ts";
import { type SoftHsm, softHsm } from "../support/softhsm.ts";
import { type Tpm2, tpm2 } from "../support/tpm2.ts";
import { World } from "../support/world.ts";

/** A kind of token. */
interface Kind {
  readonly name: string;
  readonly missing: boolean;
  /** The declared token in a world of its own, and the environment in which pkcs11-tool finds it. */
  make(): { readonly token: string; environment(world: World): Record<string, string>; readonly pins?: "user" };
  /** What its keys are where pkcs11-tool says nothing: declared, for it differs from what we make. */
  readonly attributes?: string;
  /** The module that pkcs11-tool loads. */
  module(): string;
}

let hsm: SoftHsm;
let tpm: Tpm2;
let nssModule: string;
let nssFolder: string | undefined;
let tokens = 0;

const KINDS: readonly Kind[] = [
  {
    name: "SoftHSM2",
    missing: !peer("softhsm2"),
    module: () => hsm.path,
    make: () => ({
      token: `{ module: ${hsm.path}, label: token-${++tokens}, store: ${hsm.store} }`,
      environment: () => ({ SOFTHSM2_CONF: `${hsm.store}/softhsm2.conf` }),
    }),
  },
  {
    name: "tpm2-pkcs11",
    missing: !peer("tpm2") || !peer("swtpm"),
    module: () => tpm.path,
    make: () => ({
      token: `{ module: ${tpm.path}, label: token-${++tokens}, store: ${tpm.store}, environment: { TPM2_PKCS11_TCTI: "${tpm.tcti}" } }`,
      environment: () => ({ ...tpm.environment, TPM2_PKCS11_STORE: tpm.store }),
    }),
  },
  {
    name: "NSS softokn",
    missing: !peer("nss") || !hasCompiler,
    module: () => nssModule,
    attributes: "{ extractable: true }",
    make: () => ({
      token: `{ module: ${peerPath("nss")}, label: token-${++tokens}, store: nss }`,
      environment: (world) => ({
        NSS_LIB_PARAMS: locate({
          module: "libsoftokn3.so",
          store: world.path("nss"),
          label: `token-${tokens}`,
        }).reference.reserved!,
      }),
      pins: "user",
    }),
  },
];

beforeAll(async () => {
  if (peer("softhsm2")) hsm = softHsm();
  if (peer("tpm2") && peer("swtpm")) tpm = await tpm2();
  if (peer("nss") && hasCompiler) {
    nssFolder = mkdtempSync(join(tmpdir(), "keywright-nss-"));
    nssModule = nssForOthers(nssFolder);
  }
});
afterAll(async () => {
  hsm?.remove();
  await tpm?.remove();
  if (nssFolder !== undefined) rmSync(nssFolder, { recursive: true });
});

const self = (name: string, id: number, type: string, attributes = "{}") =>
  `  ${name}: { token: demo, id: ${id}, type: ${type}, attributes: ${attributes}, certificate: { subject: CN=${name}, publish: [{ path: ${name}.pem }] } }\n`;

for (const kind of KINDS) {
  describe.skipIf(kind.missing || !peer("opensc") || !peer("openssl"))(`pkcs11-tool on ${kind.name}`, () => {
    function prepare(keys: string) {
      const { token, environment, pins = "both" } = kind.make();
      const label = `token-${tokens}`;
      const world = new World({ token, keys, pins });
      onTestFinished(() => world.remove());
      const tool = (...words: string[]) =>
        execFileSync(
          "pkcs11-tool",
          ["--module", kind.module(), "--token-label", label, "--login", "--pin", "env:USER_PIN", ...words],
          {
            cwd: world.folder,
            env: { PATH: process.env.PATH, USER_PIN: "1234-user", ...environment(world) },
            encoding: "utf8",
            stdio: ["ignore", "pipe", "pipe"],
          },
        );
      const openssl = (...words: string[]) =>
        execFileSync("openssl", words, { cwd: world.folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      return { world, tool, openssl };
    }

    test("it signs with keys that were made here", async () => {
      const { world, tool, openssl } = prepare(self("ec", 1, "EC:secp256r1") + self("rsa", 2, "RSA:2048"));
      expect(await world.applied()).toEqual(["ec done", "rsa done"]);
      world.write("data", randomBytes(100).toString("hex"));
      openssl("dgst", "-sha256", "-binary", "-out", "digest", "data");
      const sign = (id: string, mechanism: string, input: string) =>
        tool(
          "--sign",
          "--id",
          id,
          "--mechanism",
          mechanism,
          "--signature-format",
          "openssl",
          "-i",
          input,
          "-o",
          `${id}.sig`,
        );
      for (const name of ["ec", "rsa"])
        openssl("x509", "-in", `${name}.pem`, "-noout", "-pubkey", "-out", `${name}.pub`);
      sign("01", "ECDSA", "digest");
      expect(openssl("dgst", "-sha256", "-verify", "ec.pub", "-signature", "01.sig", "data")).toContain("Verified OK");
      sign("02", "SHA256-RSA-PKCS", "data");
      expect(openssl("dgst", "-sha256", "-verify", "rsa.pub", "-signature", "02.sig", "data")).toContain("Verified OK");
    });

    test("it lists the keys and certificates that were made here, under their ids and labels", async () => {
      const { world, tool } = prepare(self("www", 1, "EC:secp256r1"));
      await world.applied();
      const listed = tool("--list-objects");
      for (const type of ["Private Key Object", "Public Key Object", "Certificate Object"]) {
        expect(listed).toContain(type);
      }
      expect(listed.match(/label: +www/g)).toHaveLength(3);
      expect(listed.match(/ID: +01/g)).toHaveLength(3);
    });

    test("keys that it made are adopted: certified, and kept from then on", async () => {
      const { world, tool, openssl } = prepare(self("www", 1, "EC:secp256r1"));
      await world.applied();
      const generate = (type: string, id: string, label: string) =>
        tool("--keypairgen", "--key-type", type, "--id", id, "--label", label, "--usage-sign");
      generate("EC:prime256v1", "05", "theirs");
      generate("rsa:2048", "06", "their-rsa");
      const theirs =
        self("theirs", 5, "EC:secp256r1", kind.attributes) + self("their-rsa", 6, "RSA:2048", kind.attributes);
      world.declare(self("www", 1, "EC:secp256r1") + theirs);
      expect(await world.steps()).toEqual([
        "keep www",
        "adopt theirs",
        "publish theirs",
        "adopt their-rsa",
        "publish their-rsa",
      ]);
      expect(await world.applied()).toEqual(["www kept", "theirs done", "their-rsa done"]);
      for (const name of ["theirs", "their-rsa"]) {
        expect(openssl("verify", "-attime", "1795300000", "-CAfile", `${name}.pem`, `${name}.pem`)).toContain("OK");
      }
      expect(await world.steps()).toEqual(["keep www", "keep theirs", "keep their-rsa"]);
    });
  });
}
