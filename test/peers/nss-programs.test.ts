/** NSS's programs, which load p11-kit's client as a module, with keys of the built-in token. They send no PIN. */
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { CLIENT, freePort, isListening, type Programs, rsaAndEc } from "../support/programs.ts";

describe.skipIf(!peer("certutil") || !peer("openssl") || !peer("p11-kit-client"))("NSS", () => {
  let programs: Programs;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    programs = await rsaAndEc();
    ({ env } = await programs.serve(["demo", "--unlock"]));
    for (const name of ["nss", "client"]) {
      mkdirSync(programs.path(name));
      await programs.run(["certutil", "-N", "-d", `sql:${name}`, "--empty-password"]);
    }
    const add = ["modutil", "-force", "-dbdir", "sql:nss", "-add", "Keywright", "-libfile", CLIENT];
    expect((await programs.run(add, { env })).said).toContain('Module "Keywright" added to database.');
  });
  afterAll(() => programs.end());

  const nss = (...words: string[]) => programs.run(words, { env });

  test("modutil shows the module and its token", async () => {
    const { out } = await nss("modutil", "-dbdir", "sql:nss", "-list", "Keywright");
    expect(out).toContain("Token Name: demo");
    expect(out).toContain("Manufacturer: Keywright");
    expect(out).toMatch(/Login Type: .*Login required/);
  });

  test("certutil lists its certificates and its keys", async () => {
    const certificates = await nss("certutil", "-L", "-d", "sql:nss", "-h", "demo");
    expect(certificates.out).toMatch(/^demo:rsa +u,u,u$/m);
    expect(certificates.out).toMatch(/^demo:ec +u,u,u$/m);
    const shown = await nss("certutil", "-L", "-d", "sql:nss", "-n", "demo:rsa", "-a");
    expect(shown.out.replaceAll("\r", "")).toContain(programs.read("rsa.pem"));
    const keys = await nss("certutil", "-K", "-d", "sql:nss", "-h", "demo");
    expect(keys.out).toMatch(/rsa +01 +rsa\n.*ec +02 +ec\n/);
  });

  test.each([
    ["rsa", "rsa_pss_rsae_sha256", []],
    ["ec", "ecdsa_secp256r1_sha256", ["-e", "demo:ec"]],
  ])("selfserv has the key %s in the token, and tstclnt trusts it", async (name, scheme, more) => {
    const port = await freePort();
    const words = ["-d", "sql:nss", "-p", String(port), "-V", "tls1.2:"];
    const server = programs.start(["selfserv", ...words, ...(more.length > 0 ? more : ["-n", `demo:${name}`])], {
      env,
    });
    await server.until(() => isListening(port));
    await nss("certutil", "-A", "-d", "sql:client", "-n", name, "-t", "CT,,", "-i", `${name}.pem`);
    const client = ["tstclnt", "-d", "sql:client", "-h", "localhost", "-p", String(port), "-v"];
    const { out, said } = await programs.run(client, { input: "GET / HTTP/1.0\r\n\r\n" });
    expect(said).toContain(`Signature Scheme: ${scheme}`);
    expect(said).toContain("subject DN: CN=localhost");
    expect(out).toContain("HTTP/1.0 200 OK");
    await server.stop();
  });
});
