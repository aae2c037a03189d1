/** Java's SunPKCS11 with keys of the built-in token: keytool, and a program that signs. It sends no PIN. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { CLIENT, type Programs, rsaAndEc } from "../support/programs.ts";

const SIGN = `
import java.nio.file.*;
import java.security.*;
import javax.crypto.Cipher;

public class Sign {
  public static void main(String[] words) throws Exception {
    Provider provider = Security.getProvider("SunPKCS11").configure("p11.cfg");
    Security.addProvider(provider);
    KeyStore store = KeyStore.getInstance("PKCS11", provider);
    // The token asks for its PIN itself.
    store.load(null, null);
    byte[] data = Files.readAllBytes(Path.of("data"));
    for (int i = 0; i < words.length; i += 2) {
      PrivateKey key = (PrivateKey) store.getKey(words[i], null);
      Signature signature = Signature.getInstance(words[i + 1], provider);
      signature.initSign(key);
      signature.update(data);
      Files.write(Path.of(words[i] + ".sig"), signature.sign());
      System.out.println(words[i] + " " + words[i + 1] + " " + signature.getProvider().getName());
    }
  }
}
`;

describe.skipIf(!peer("java") || !peer("openssl") || !peer("p11-kit-client"))("Java", () => {
  let programs: Programs;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    programs = await rsaAndEc();
    ({ env } = await programs.serve(["demo", "--unlock"]));
    programs.write("p11.cfg", `name = Keywright\nlibrary = ${CLIENT}\nslotListIndex = 0\n`);
    programs.write("data", "what is signed\n");
    programs.write("Sign.java", SIGN);
  });
  afterAll(() => programs.end());

  test("keytool lists the token's keys with their certificates", async () => {
    const provider = ["-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", "p11.cfg"];
    const words = ["keytool", "-list", "-keystore", "NONE", "-storetype", "PKCS11", "-protected", ...provider];
    const { out } = await programs.run(words, { env });
    expect(out).toContain("Keystore provider: SunPKCS11-Keywright\n");
    expect(out).toContain("Your keystore contains 2 entries\n");
    for (const name of ["rsa", "ec"]) {
      const print = ["openssl", "x509", "-in", `${name}.pem`, "-noout", "-fingerprint", "-sha256"];
      const fingerprint = (await programs.run(print)).out.trim().split("=")[1]!;
      expect(out).toMatch(new RegExp(`^${name}, PrivateKeyEntry, ?\nCertificate fingerprint .*: ${fingerprint}$`, "m"));
    }
  });

  test("a program signs with them, as OpenSSL sees it", async () => {
    const { out, err } = await programs.run(["java", "Sign.java", "rsa", "SHA256withRSA", "ec", "SHA256withECDSA"], {
      env,
    });
    expect(err).toBe("");
    expect(out).toBe("rsa SHA256withRSA SunPKCS11-Keywright\nec SHA256withECDSA SunPKCS11-Keywright\n");
    for (const name of ["rsa", "ec"]) {
      const { out: key } = await programs.run(["openssl", "x509", "-in", `${name}.pem`, "-noout", "-pubkey"]);
      programs.write(`${name}.pub`, key);
      const verify = ["openssl", "dgst", "-sha256", "-verify", `${name}.pub`, "-signature", `${name}.sig`, "data"];
      expect((await programs.run(verify)).out).toBe("Verified OK\n");
    }
  });
});
