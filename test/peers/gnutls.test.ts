/** GnuTLS with keys of the built-in token: p11tool, gnutls-serv and gnutls-cli. It sends no PIN. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LAID_OUT, RELEASES, WITHOUT_PARAMETER } from "../../src/spec/wire-mechanisms.ts";
import { peer } from "../support/peers.ts";
import { CLIENT, freePort, isListening, type Programs, rsaAndEc } from "../support/programs.ts";

describe.skipIf(!peer("gnutls") || !peer("openssl") || !peer("p11-kit-client"))("GnuTLS", () => {
  let programs: Programs;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    programs = await rsaAndEc();
    ({ env } = await programs.serve(["demo", "--unlock"]));
  });
  afterAll(() => programs.end());

  const tool = (...words: string[]) => programs.run(["p11tool", "--batch", "--provider", CLIENT, ...words], { env });

  test("p11tool lists the token and its objects", async () => {
    const { out } = await tool("--list-tokens");
    expect(out).toMatch(/URL: pkcs11:model=softtoken;manufacturer=Keywright;serial=[0-9a-f]{16};token=demo\n/);
    expect(out).toContain("Flags: RNG, Requires login, External PIN\n");
    const listed = (await tool("--login", "--list-all", "pkcs11:token=demo")).out;
    expect(listed.match(/(?<=object=)\w+;type=\w+/g)).toEqual([
      "rsa;type=public",
      "rsa;type=private",
      "rsa;type=cert",
      "ec;type=public",
      "ec;type=private",
      "ec;type=cert",
    ]);
    expect(listed).toContain("Type: Private key (RSA-2048)\n");
    expect(listed).toContain("Type: Private key (EC/ECDSA-SECP256R1)\n");
    expect((await tool("--list-all", "pkcs11:token=demo")).out).not.toContain("type=private");
  });

  test("of the token's mechanisms, p11-kit's client shows those of its release and no other", async () => {
    const { out } = await tool("--list-mechanisms", "pkcs11:token=demo");
    const shown = Array.from(out.matchAll(/^\[0x([0-9a-f]+)\] CKM_/gm), ([, code]) => Number.parseInt(code!, 16));
    const all = (await programs.keywright(["mechanism", "list", "demo", "--json"]).end()).out;
    const codes = (JSON.parse(all) as { mechanisms: { code: number }[] }).mechanisms.map(({ code }) => code);
    const known = RELEASES.map((release) =>
      codes.filter((code) => LAID_OUT[release].has(code) || WITHOUT_PARAMETER[release].has(code)),
    );
    expect(known).toContainEqual(shown);
    expect(shown.length).toBeLessThan(codes.length);
  });

  test.each([
    ["RSA", ["--generate-privkey=rsa", "--bits=2048"], "RSA-SHA256"],
    ["EC", ["--generate-privkey=ecdsa", "--curve=secp256r1"], "ECDSA-SHA256"],
  ])("p11tool makes an %s key, exports its public part and signs with it", async (name, words, algorithm) => {
    const made = await tool("--login", ...words, "--label", name, "--outfile", `${name}.pub`, "pkcs11:token=demo");
    expect(made.code).toBe(0);
    const key = `pkcs11:token=demo;object=${name}`;
    const exported = await tool("--export-pubkey", "--login", `${key};type=private`);
    expect(exported.out.trim()).toBe(programs.read(`${name}.pub`).trim());
    const signed = (await tool("--login", "--test-sign", key)).said;
    expect(signed).toContain(`Signing using ${algorithm}... ok\n`);
    expect(signed).toContain("Verifying against private key parameters... ok\n");
    expect(signed).toContain("Verifying against public key in the token... ok\n");
  });

  test("p11tool exports a certificate", async () => {
    const { out } = await tool("--export", "pkcs11:token=demo;object=rsa;type=cert");
    expect(out.trim()).toBe(programs.read("rsa.pem").trim());
  });

  test.each([
    ["rsa", "RSA-PSS-RSAE-SHA256"],
    ["ec", "ECDSA-SECP256R1-SHA256"],
  ])("gnutls-serv has the key %s in the token, and gnutls-cli trusts it", async (name, signature) => {
    const port = await freePort();
    const server = programs.start(
      [
        ...["gnutls-serv", "--provider", CLIENT, "--port", String(port), "--http"],
        ...["--x509keyfile", `pkcs11:token=demo;object=${name};type=private`, "--x509certfile", `${name}.pem`],
      ],
      { env },
    );
    await server.until(() => isListening(port));
    const { said } = await programs.run(
      ["gnutls-cli", "--x509cafile", `${name}.pem`, "-p", String(port), "localhost"],
      {
        input: "GET / HTTP/1.0\r\n\r\n",
      },
    );
    expect(said).toContain("- Status: The certificate is trusted.");
    expect(said).toMatch(new RegExp(`- Description: \\(TLS1.3.*\\(${signature}\\)`));
    await server.stop();
  });
});
