/** gpgsm signs with a key of the built-in token, by gnupg-pkcs11-scd. It sends no PIN. */
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { CLIENT, type Programs, rsaAndEc } from "../support/programs.ts";

const isHere = peer("gpgsm") && peer("gnupg-pkcs11-scd") && peer("openssl") && peer("p11-kit-client");

describe.skipIf(!isHere)("gpgsm", () => {
  let programs: Programs;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    programs = await rsaAndEc();
    const served = await programs.serve(["demo", "--unlock"]);
    env = { ...served.env, GNUPGHOME: programs.path("gnupg") };
    mkdirSync(programs.path("gnupg"), { mode: 0o700 });
    programs.write("gnupg/gpg-agent.conf", "scdaemon-program /usr/bin/gnupg-pkcs11-scd\n");
    programs.write(
      "gnupg/gnupg-pkcs11-scd.conf",
      `providers keywright\nprovider-keywright-library ${CLIENT}\nprovider-keywright-allow-protected-auth\n`,
    );
    programs.write("gnupg/gpgsm.conf", "disable-crl-checks\n");
  });
  afterAll(async () => {
    // The agent that gpgsm starts is nobody's child.
    await programs.run(["gpgconf", "--kill", "all"], { env });
    await programs.end();
  });

  const gpgsm = (...words: string[]) => programs.run(["gpgsm", "--batch", ...words], { env });

  test("it learns of the key, signs with it, and verifies what it signed with the certificate", async () => {
    const print = ["openssl", "x509", "-in", "rsa.pem", "-noout", "-fingerprint", "-sha1"];
    const fingerprint = (await programs.run(print)).out.trim().split("=")[1]!.replaceAll(":", "");
    programs.write("gnupg/trustlist.txt", `${fingerprint} S relax\n`);
    const imported = await gpgsm("--import", "rsa.pem");
    expect(imported.err).toContain("imported: 1");
    expect((await programs.run(["gpg-connect-agent", "scd learn --force", "/bye"], { env })).out).toMatch(
      /^S KEYPAIRINFO [0-9A-F]{40} Keywright\/softtoken\/[0-9a-f]{16}\/demo\/01$/m,
    );
    await gpgsm("--learn-card");
    expect((await gpgsm("--list-secret-keys")).out).toMatch(/key type: 2048 bit RSA[\s\S]*card s\/n: [0-9A-F]+/);

    programs.write("data", "what is signed\n");
    const sign = ["--detach-sign", "--local-user", `0x${fingerprint}`, "--output", "data.p7s", "data"];
    expect((await gpgsm(...sign)).err).toContain("gpgsm: signature created");
    expect((await gpgsm("--verify", "data.p7s", "data")).err).toContain('Good signature from "/CN=localhost"');
    programs.write("data", "what is not signed\n");
    expect((await gpgsm("--verify", "data.p7s", "data")).err).toContain("invalid signature: message digest attribute");
  });
});
