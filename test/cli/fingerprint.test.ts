/** Two keys of one id and label, as other programs make them: each command can be told which is meant. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Pin } from "../../src/cryptoki/pin.ts";
import { ecParams, mechanism, openModule, readCertificates } from "../../src/index.ts";
import { peer, peerPath } from "../support/peers.ts";
import { TranscriptFolder } from "../support/transcript.ts";

const MODULES = [
  { name: "the built-in token", isHere: true, module: "softtoken", store: "t.db" },
  { name: "SoftHSM2", isHere: peer("softhsm2"), module: peerPath("softhsm2") ?? "", store: "hsm" },
];

const KINDS = {
  EC: { generator: "CKM_EC_KEY_PAIR_GEN", curve: "P-256", uses: { CKA_SIGN: true } },
  X25519: { generator: "CKM_EC_MONTGOMERY_KEY_PAIR_GEN", curve: "X25519", uses: { CKA_DERIVE: true } },
} as const;

describe.skipIf(!peer("openssl")).each(MODULES)("$name", ({ isHere, module, store }) => {
  /** A folder with a token, and a key `twin` in it. */
  function folder() {
    const made = new TranscriptFolder([
      { name: "user.pin", mode: 0o600, text: "1234-user\n" },
      { name: "so.pin", mode: 0o600, text: "so-12345678\n" },
    ]);
    onTestFinished(() => made.remove());
    const options = `--module ${module} --store ${store} --pin file:user.pin`;
    const run = (words: string, rest = "") => {
      const { out, err, code } = made.run(`keywright ${words} ${options} ${rest}`);
      return { out, err, code };
    };
    expect(run("token init", "--label demo --so-pin file:so.pin").code).toBe(0);
    return { path: made.path, run, sh: (line: string) => made.run(line).out.trim() };
  }

  /** What other programs do: a key beside another under its id and label. */
  async function addTwin(path: string, kind: keyof typeof KINDS): Promise<void> {
    const { generator, curve, uses } = KINDS[kind];
    await using opened = await openModule(module, { store: join(path, store), state: join(path, ".state") });
    const token = await opened.token({ label: "demo" });
    await token.withSession({ user: "USER", pin: Pin.from("1234-user"), write: true }, (session) =>
      session.generateKeyPair(
        mechanism(generator),
        { CKA_TOKEN: true, CKA_ID: Buffer.from([1]), CKA_LABEL: "twin", CKA_EC_PARAMS: ecParams(curve) },
        { CKA_TOKEN: true, CKA_PRIVATE: true, CKA_ID: Buffer.from([1]), CKA_LABEL: "twin", ...uses },
      ),
    );
  }

  /** And a second certificate of a key. */
  async function addCertificate(path: string, file: string): Promise<void> {
    const [certificate] = readCertificates(readFileSync(join(path, file)));
    await using opened = await openModule(module, { store: join(path, store), state: join(path, ".state") });
    const token = await opened.token({ label: "demo" });
    await token.withSession({ user: "USER", pin: Pin.from("1234-user"), write: true }, (session) =>
      session.create({
        CKA_CLASS: "CKO_CERTIFICATE",
        CKA_CERTIFICATE_TYPE: "CKC_X_509",
        CKA_TOKEN: true,
        CKA_ID: Buffer.from([1]),
        CKA_LABEL: "twin",
        CKA_SUBJECT: certificate!.raw.subject,
        CKA_VALUE: certificate!.der,
      }),
    );
  }

  const TWIN = "'pkcs11:token=demo;object=twin'";
  const choices = (err: string) => [...err.matchAll(/--fingerprint ([0-9a-f]{16})$/gm)].map(([, digits]) => digits!);

  test.skipIf(!isHere)(
    "is picked by the first digits of its public key's SHA-256, wherever a key is named",
    async () => {
      const { path, run, sh } = folder();
      run("key generate", "--type EC:P-256 --id 1 --label twin");
      run(`key export ${TWIN}`, "--out first.pem");
      const first = sh("openssl pkey -pubin -in first.pem -outform DER | sha256sum | cut -c1-16");
      await addTwin(path, "EC");

      const listed = run("key list pkcs11:token=demo").out;
      expect(listed).toMatch(/^CLASS .* FINGERPRINT\n/);
      expect([...listed.matchAll(/ ([0-9a-f]{16})$/gm)].filter(([, digits]) => digits === first)).toHaveLength(2);

      const ambiguous = run(`key export ${TWIN}`);
      expect(ambiguous).toMatchObject({
        code: 1,
        err: expect.stringMatching(/^keywright: error: 2 objects in .* are pkcs11:/),
      });
      expect(choices(ambiguous.err)).toHaveLength(2);
      expect(choices(ambiguous.err)).toContain(first);
      const second = choices(ambiguous.err).find((one) => one !== first)!;
      const { objects } = JSON.parse(run("key list pkcs11:token=demo", "--json").out);
      expect(objects.map((o: { fingerprint: string }) => o.fingerprint.slice(0, 16)).sort()).toEqual(
        [first, first, second, second].sort(),
      );

      expect(run(`key export ${TWIN}`, `--fingerprint ${first.toUpperCase()}`).out).toBe(`${sh("cat first.pem")}\n`);
      run(`key export ${TWIN}`, `--fingerprint ${second} --out second.pem`);
      expect(sh("openssl pkey -pubin -in second.pem -outform DER | sha256sum")).toContain(second);

      expect(run(`sign ${TWIN}`, `--fingerprint ${second} --in user.pin --out sig`).code).toBe(0);
      expect(sh("openssl dgst -sha256 -verify second.pem -signature sig user.pin")).toBe("Verified OK");
      const verified = (digits: string) =>
        run(`verify ${TWIN}`, `--fingerprint ${digits} --in user.pin --signature sig`).code;
      expect([verified(second), verified(first)]).toEqual([0, 1]);

      const made = run(`cert self-sign ${TWIN}`, `--fingerprint ${second} --subject CN=twin --import --out made.crt`);
      expect(made).toMatchObject({ code: 0, err: "" });
      expect(sh("openssl x509 -in made.crt -noout -pubkey | cmp - second.pem && echo same")).toBe("same");
      // A certificate has a fingerprint of its own, too.
      const own = sh("openssl x509 -in made.crt -outform DER | sha256sum | cut -c1-16");
      for (const digits of [second, own]) {
        expect(run(`cert export ${TWIN}`, `--fingerprint ${digits} --out got.crt`).code).toBe(0);
        expect(sh("cmp got.crt made.crt && echo same")).toBe("same");
      }

      const refused = run(`key delete ${TWIN}`, "--yes");
      expect(refused).toMatchObject({
        code: 1,
        err: expect.stringMatching(/error: 5 objects of several keys in .* are/),
      });
      expect(choices(refused.err).sort()).toEqual([first, first, second, second, own].sort());
      const asked = run(`key delete ${TWIN}`, `--fingerprint ${second}`);
      expect(asked).toMatchObject({ code: 5, err: expect.stringContaining("3 objects will be destroyed") });
      expect(run(`key delete ${TWIN}`, `--fingerprint ${second} --yes`).err).toContain("deleted 3 objects");
      expect(run("key list pkcs11:token=demo").out).not.toContain("FINGERPRINT");
      expect(run(`key export ${TWIN}`).out).toBe(`${sh("cat first.pem")}\n`);
      expect(run(`sign ${TWIN}`, "--in user.pin --out sig").code).toBe(0);
      expect(sh("openssl dgst -sha256 -verify first.pem -signature sig user.pin")).toBe("Verified OK");
    },
  );

  test.skipIf(!isHere)(
    "one key with its certificates is deleted whole, and so are keys of several labels",
    async () => {
      const { path, run } = folder();
      run("key generate", "--type EC:P-256 --id 1 --label twin");
      run(`cert self-sign ${TWIN}`, "--subject CN=twin --validity 1d --import --out first.crt");
      run(`cert self-sign ${TWIN}`, "--subject CN=twin --validity 2d --out second.crt");
      await addCertificate(path, "second.crt");
      expect(run(`key delete ${TWIN}`, "--yes").err).toContain("deleted 4 objects");

      run("key generate", "--type EC:P-256 --id 1 --label other");
      await addTwin(path, "EC");
      expect(run("key delete 'pkcs11:token=demo;id=%01'", "--yes").err).toContain("deleted 4 objects");
    },
  );

  test.skipIf(!isHere)("a public key of another key under the id and label is not deleted along with it", async () => {
    const { path, run } = folder();
    run("key generate", "--type EC:P-256 --id 1 --label twin");
    await addTwin(path, "EC");
    const [one] = choices(run(`key delete ${TWIN}`).err);
    const alone = "'pkcs11:token=demo;object=twin;type=private'";
    expect(run(`key delete ${alone}`, `--fingerprint ${one} --yes`).err).toContain("deleted 1 object");
    const refused = run(`key delete ${TWIN}`, "--yes");
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("3 objects of several keys") });
    expect(run(`key delete ${TWIN}`, `--fingerprint ${one} --yes`).err).toContain("deleted 1 object");
    expect(run(`key delete ${TWIN}`, "--yes").err).toContain("deleted 2 objects");
  });

  test.skipIf(!isHere)("a fingerprint that is none, or nobody's, is an error, and nothing is touched", async () => {
    const { path, run } = folder();
    run("key generate", "--type EC:P-256 --id 1 --label twin");
    await addTwin(path, "EC");
    expect(run(`key delete ${TWIN}`, "--fingerprint 12 --yes")).toMatchObject({
      code: 64,
      err: expect.stringContaining('"12" is no fingerprint: write 8 to 64 hexadecimal digits'),
    });
    const nobody = run(`key delete ${TWIN}`, "--fingerprint 00:00:00:00:00 --yes");
    expect(nobody).toMatchObject({ code: 1, err: expect.stringContaining("has the fingerprint 0000000000") });
    expect(choices(nobody.err)).toHaveLength(4);
    expect(run("key list pkcs11:token=demo", "--json").out.match(/"uri"/g)).toHaveLength(4);
  });

  test.skipIf(module !== "softtoken")(
    "a key that cannot sign is told by what its token says of its public key",
    async () => {
      const { path, run } = folder();
      run("key generate", "--type X25519 --id 1 --label twin");
      await addTwin(path, "X25519");
      const [one] = choices(run(`key delete ${TWIN}`).err);
      expect(run(`key delete ${TWIN}`, `--fingerprint ${one} --yes`).err).toContain("deleted 2 objects");
      expect(run(`key export ${TWIN}`).code).toBe(0);
    },
  );
});
