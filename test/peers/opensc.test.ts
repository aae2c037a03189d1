/** pkcs11-tool with the built-in token, through p11-kit's client and our server. */
import { existsSync, readdirSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import {
  CLIENT,
  Programs,
  type Ran,
  type Running,
  rsaAndEc,
  SO_PIN,
  selfSigned,
  USER_PIN,
} from "../support/programs.ts";

const TOOL = ["pkcs11-tool", "--module", CLIENT];

describe.skipIf(!peer("opensc") || !peer("openssl") || !peer("p11-kit-client"))("pkcs11-tool", () => {
  let programs: Programs;

  /** The words of keys that sign and decrypt. */
  const generate = (type: string, id: string, ...usages: string[]) => [
    "--keypairgen",
    "--key-type",
    type,
    "--id",
    id,
    ...["--label", `key-${id}`],
    ...usages.map((usage) => `--usage-${usage}`),
  ];

  describe("without a PIN of its own", () => {
    let server: Running;
    let env: NodeJS.ProcessEnv;
    beforeAll(async () => {
      programs = await rsaAndEc();
      ({ server, env } = await programs.serve(["demo", "--unlock"]));
    });
    afterAll(() => programs.end());
    const run = (...words: string[]) => programs.run([...TOOL, ...words], { env });
    const tool = (...words: string[]) => run("--login", ...words);
    const openssl = (...words: string[]) => programs.run(["openssl", ...words]);

    test("it lists the token, which asks for its PIN itself, and what is in it", async () => {
      const slots = (await run("--list-slots")).out;
      expect(slots).toMatch(/token label +: demo\n/);
      expect(slots).toMatch(
        /token flags +: .*login required, PIN pad present, rng, token initialized, PIN initialized/,
      );
      const objects = (await tool("--list-objects")).out;
      expect(objects.match(/^\w.*?(?=;|$)/gm)).toEqual([
        "Public Key Object",
        "Private Key Object",
        "Certificate Object",
        "Public Key Object",
        "Private Key Object",
        "Certificate Object",
      ]);
      const { out } = await run("--list-objects");
      expect(out).toContain("Public Key Object");
      expect(out).not.toContain("Private Key Object");
    });

    test("its own test of the token finds no errors", async () => {
      await tool(...generate("rsa:2048", "05", "sign", "decrypt"));
      const { out, code } = await tool("--test", "--allow-sw");
      expect(out).toMatch(/RSA-X-509: OK\n +RSA-PKCS: OK\n +SHA1-RSA-PKCS: OK\n/);
      expect(out).toMatch(/Decryption[\s\S]*key-05[\s\S]*RSA-PKCS: OK\n +RSA-X-509: OK\n/);
      expect(out).not.toMatch(/ERR|failed/);
      expect(out).toMatch(/No errors\n$/);
      expect(code).toBe(0);
    });

    test("it makes keys that sign and decrypt, as OpenSSL sees it", async () => {
      programs.write("data", "what is signed\n");
      await openssl("dgst", "-sha256", "-binary", "-out", "digest", "data");
      expect((await tool(...generate("EC:secp256r1", "06", "sign"))).out).toMatch(/^Key pair generated:\n/m);
      expect((await tool(...generate("rsa:2048", "07", "sign", "decrypt"))).out).toMatch(/Usage: +decrypt, sign\n/);
      for (const id of ["06", "07"]) {
        await tool("--read-object", "--type", "pubkey", "--id", id, "-o", `${id}.der`);
        await openssl("pkey", "-pubin", "-inform", "DER", "-in", `${id}.der`, "-out", `${id}.pub`);
      }

      const ecdsa = ["--id", "06", "--mechanism", "ECDSA", "--signature-format", "openssl", "-i", "digest"];
      await tool("--sign", ...ecdsa, "-o", "ec.sig");
      const verified = (id: string, file: string, ...options: string[]) =>
        openssl("dgst", "-sha256", ...options, "-verify", `${id}.pub`, "-signature", file, "data");
      expect((await verified("06", "ec.sig")).out).toBe("Verified OK\n");
      expect((await tool("--verify", ...ecdsa, "--signature-file", "ec.sig")).out).toContain("Signature is valid");

      const rsa = ["--id", "07", "--mechanism", "SHA256-RSA-PKCS"];
      await tool("--sign", ...rsa, "-i", "data", "-o", "rsa.sig");
      expect((await verified("07", "rsa.sig")).out).toBe("Verified OK\n");
      const verify = ["--verify", ...rsa, "--signature-file", "rsa.sig"];
      expect((await tool(...verify, "-i", "data")).out).toContain("Signature is valid");
      expect((await tool(...verify, "-i", "digest")).said).toContain("Invalid signature");

      const pss = ["--mechanism", "RSA-PKCS-PSS", "--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"];
      await tool("--sign", "--id", "07", ...pss, "-i", "digest", "-o", "pss.sig");
      expect((await verified("07", "pss.sig", "-sigopt", "rsa_padding_mode:pss")).out).toBe("Verified OK\n");

      const encrypt = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "07.pub", "-in", "data", "-out", "data.enc"];
      await openssl(...encrypt);
      const decrypt = ["--decrypt", "--id", "07", "-i", "data.enc", "--mechanism"];
      expect((await tool(...decrypt, "RSA-PKCS")).out).toBe("what is signed\n");
      await openssl(
        ...encrypt,
        ...["rsa_padding_mode:oaep", "rsa_oaep_md:sha256"].flatMap((option) => ["-pkeyopt", option]),
      );
      const oaep = ["RSA-PKCS-OAEP", "--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"];
      expect((await tool(...decrypt, ...oaep)).out).toContain("what is signed\n");
    });

    test("it writes, reads and deletes objects", async () => {
      programs.write("note", "a note\n");
      const note = ["--type", "data", "--label", "note"];
      expect((await tool("--write-object", "note", ...note)).out).toContain("Created Data Object:");
      expect((await tool("--read-object", ...note)).out).toBe("a note\n");
      await tool("--delete-object", ...note);
      expect((await tool("--list-objects", "--type", "data")).out).toBe("");

      await openssl("x509", "-in", "ec.pem", "-outform", "DER", "-out", "ec.der");
      expect((await tool("--write-object", "ec.der", "--type", "cert", "--id", "09")).out).toContain(
        "DN: CN=localhost",
      );
      await tool("--read-object", "--type", "cert", "--id", "09", "-o", "read.der");
      expect((await programs.run(["cmp", "ec.der", "read.der"])).code).toBe(0);

      programs.write("data", "what is signed\n");
      await openssl("genpkey", "-algorithm", "RSA", "-outform", "DER", "-out", "own.der");
      await openssl("pkey", "-inform", "DER", "-in", "own.der", "-pubout", "-out", "own.pub");
      await tool("--write-object", "own.der", "--type", "privkey", "--id", "0a", "--usage-sign");
      await tool("--sign", "--id", "0a", "--mechanism", "SHA256-RSA-PKCS", "-i", "data", "-o", "own.sig");
      const verify = ["dgst", "-sha256", "-verify", "own.pub", "-signature", "own.sig", "data"];
      expect((await openssl(...verify)).out).toBe("Verified OK\n");
    });

    test("a PIN that it sends is refused, the right one too, and costs no try", async () => {
      for (const pin of [USER_PIN, "wrong-pin"]) {
        const words = [...TOOL, "--login", "--pin", "env:PIN", "--list-objects"];
        const { said } = await programs.run(words, { env: { ...env, PIN: pin } });
        expect(said).toMatch(/C_Login failed: rv = .*\(0x200\)/);
        expect(server.said).toContain("a PIN was sent, which went nowhere");
        expect(server.said).not.toContain(pin);
      }
      expect((await run("--list-slots")).out).not.toContain("user PIN count low");
    });

    test("what p11-kit's client of 0.24 hides is not there", async () => {
      const { out } = await tool("--list-mechanisms");
      const names = out.match(/(?<=^ +)[A-Z][\w-]+/gm)!;
      expect(names).toEqual(expect.arrayContaining(["RSA-PKCS-PSS", "RSA-PKCS-OAEP", "ECDSA", "AES-ECB"]));
      for (const hidden of ["ECDSA-SHA256", "ECDH1-DERIVE", "AES-CBC-PAD", "AES-GCM", "EDDSA"]) {
        expect(names).not.toContain(hidden);
      }
      programs.write("data", "what is signed\n");
      const { said } = await tool("--sign", "--id", "02", "--mechanism", "ECDSA-SHA256", "-i", "data");
      expect(said).toContain("C_SignInit failed: rv = CKR_MECHANISM_INVALID");
    });
  });

  describe("with PINs", () => {
    const pins = { PIN: USER_PIN, SO: SO_PIN, NEW: "5678-user", WRONG: "not-the-pin" };

    afterEach(() => programs.end());

    /** Serves a store, and answers the tool for its token. */
    async function served(...words: string[]): Promise<(...words: string[]) => Promise<Ran>> {
      const { env } = await programs.serve(words);
      return (...words) => programs.run([...TOOL, ...words], { env: { ...env, ...pins } });
    }

    test("it makes a token of one that was never initialised, and its PINs", async () => {
      programs = new Programs(selfSigned("rsa", 1, "RSA:2048"), "none");
      const tool = await served("--store", "new.db", "--uninitialised");
      expect((await tool("--list-slots")).out).toMatch(/token state: +uninitialized\n/);
      const made = await tool("--init-token", "--slot-index", "0", "--label", "fresh", "--so-pin", "env:SO");
      expect(made.out).toContain("Token successfully initialized\n");
      const flags = async () =>
        /token label +: fresh\n[\s\S]*token flags +: (.*)\n/.exec((await tool("--list-slots")).out)?.[1];
      expect(await flags()).toMatch(/^login required, rng, token initialized, (?!PIN)/);

      const fresh = (...words: string[]) => tool("--token-label", "fresh", ...words);
      const so = ["--login", "--login-type", "so", "--so-pin", "env:SO"];
      expect((await fresh("--init-pin", ...so, "--new-pin", "env:PIN")).out).toContain(
        "User PIN successfully initialized\n",
      );
      expect(await flags()).toMatch(/token initialized, PIN initialized/);

      expect((await fresh("--change-pin", "--pin", "env:PIN", "--new-pin", "env:NEW")).out).toContain(
        "PIN successfully changed\n",
      );
      expect((await fresh("--login", "--pin", "env:PIN", "--list-objects")).said).toContain("CKR_PIN_INCORRECT");
      expect((await fresh("--login", "--pin", "env:NEW", ...generate("EC:secp256r1", "01", "sign"))).out).toMatch(
        /^Key pair generated:\nPrivate Key Object; EC\n/m,
      );
    });

    test("where the user PIN is lost the SO gives a new one, by --init-pin; --unlock-pin, which is OpenSC's own, is refused", async () => {
      programs = await rsaAndEc();
      const tool = await served("--store", "demo.db");
      const login = (pin: string) => tool("--login", "--pin", `env:${pin}`, "--list-objects", "--type", "privkey");
      expect((await login("PIN")).out).toContain("Private Key Object");
      expect((await login("WRONG")).said).toContain("CKR_PIN_INCORRECT");
      // It logs in with the PUK for an operation that there is none of, which costs no try.
      const unlock = ["--unlock-pin", "--login", "--login-type", "context-specific"];
      expect((await tool(...unlock, "--puk", "env:SO", "--new-pin", "env:NEW")).said).toContain(
        "CKR_OPERATION_NOT_INITIALIZED",
      );
      const so = ["--login", "--login-type", "so", "--so-pin", "env:SO"];
      expect((await tool("--init-pin", ...so, "--new-pin", "env:NEW")).out).toContain(
        "User PIN successfully initialized",
      );
      expect((await login("NEW")).out).toContain("Private Key Object");
    });

    test("after SIGTERM the server leaves no socket", async () => {
      programs = await rsaAndEc();
      const { server, env } = await programs.serve(["--store", "demo.db"]);
      expect((await programs.run([...TOOL, "--list-slots"], { env })).out).toContain("demo");
      expect(existsSync(programs.path("run/s"))).toBe(true);
      expect((await server.stop()).code).toBe(143);
      expect(readdirSync(programs.path("run"))).toEqual([]);
    });
  });
});
