/** OpenSSL with libp11's engine, which keywright exec sets up: keys of the built-in token, and no PIN. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { freePort, isListening, type Programs, rsaAndEc } from "../support/programs.ts";

const key = (name: string) => ["-keyform", "engine", "-key", `pkcs11:token=demo;object=${name};type=private`];
const ENGINE = ["-engine", "pkcs11"];

describe.skipIf(!peer("openssl") || !peer("openssl-pkcs11") || !peer("p11-kit-client"))("openssl", () => {
  let programs: Programs;
  beforeAll(async () => {
    programs = await rsaAndEc();
  });
  afterAll(() => programs.end());

  test.each(["rsa", "ec"])("it makes a request and a certificate with the key %s", async (name) => {
    const request = ["openssl", "req", "-new", ...ENGINE, ...key(name), "-subj", `/CN=${name}`];
    await programs.with([...request, "-out", "made.csr"]);
    const looked = await programs.run(["openssl", "req", "-in", "made.csr", "-noout", "-verify", "-subject"]);
    expect(looked.said).toContain("self-signature verify OK");
    expect(looked.said).toContain(`subject=CN = ${name}`);

    await programs.with([...request, "-x509", "-days", "30", "-out", "made.pem"]);
    expect((await programs.run(["openssl", "verify", "-CAfile", "made.pem", "made.pem"])).out).toBe("made.pem: OK\n");
    const publicOf = async (file: string) =>
      (await programs.run(["openssl", "x509", "-in", file, "-noout", "-pubkey"])).out;
    expect(await publicOf("made.pem")).toBe(await publicOf(`${name}.pem`));
  });

  test("it signs a file", async () => {
    programs.write("data", "what is signed\n");
    const word = "pkcs11:token=demo;object=rsa;type=private";
    const sign = ["openssl", "dgst", ...ENGINE, "-keyform", "engine", "-sha256", "-sign", word, "-out", "sig", "data"];
    await programs.with(sign);
    const { out } = await programs.run(["openssl", "x509", "-in", "rsa.pem", "-noout", "-pubkey"]);
    programs.write("rsa.pub", out);
    const verify = ["openssl", "dgst", "-sha256", "-verify", "rsa.pub", "-signature", "sig", "data"];
    expect((await programs.run(verify)).out).toBe("Verified OK\n");
  });

  test.each([
    ["rsa", "tls1_3", "Peer signature type: RSA-PSS"],
    ["rsa", "tls1_2", "Peer signature type: RSA-PSS"],
    ["ec", "tls1_3", "Peer signature type: ECDSA"],
  ])("s_server has the key %s in the token, and s_client trusts it with %s", async (name, version, signature) => {
    const port = await freePort();
    const server = programs.startWith([
      ...["openssl", "s_server", ...ENGINE, ...key(name)],
      ...["-cert", `${name}.pem`, "-accept", `127.0.0.1:${port}`, "-www"],
    ]);
    await server.until(() => isListening(port));
    const client = ["openssl", "s_client", "-connect", `127.0.0.1:${port}`, `-${version}`, "-CAfile", `${name}.pem`];
    const { out } = await programs.run([...client, "-verify_return_error", "-ign_eof"], {
      input: "GET / HTTP/1.0\r\n\r\n",
    });
    expect(out).toContain(signature);
    expect(out).toContain("Verification: OK");
    expect(out).toContain("HTTP/1.0 200 ok");
    expect((await server.stop()).signal).toBe("SIGTERM");
  });
});
