/** OpenSSH logs in with keys of the built-in token, to a server of its own on the loopback. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { CLIENT, type Programs, rsaAndEc, USER_PIN } from "../support/programs.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";

describe.skipIf(!peer("sshd") || !peer("ssh-keygen") || !peer("p11-kit-client"))("OpenSSH", () => {
  let programs: Programs;
  let sshd: Sshd;
  /** The public keys, as ssh-keygen reads them from the token. */
  let keys: string[];
  beforeAll(async () => {
    programs = await rsaAndEc();
    sshd = await startSshd(programs);
    keys = (await programs.with(["ssh-keygen", "-D", CLIENT])).out.trim().split("\n");
  });
  afterAll(() => programs.end());

  /** Keys of the user who runs the tests are none of ours. */
  const ssh = (...words: string[]) => ["ssh", "-o", "IdentityFile=none", ...sshd.words, ...words, sshd.destination];
  const keyOf = (name: string) => keys.find((line) => line.endsWith(` ${name}`))!;

  test("ssh-keygen -D prints the public keys, which keywright key export prints too", async () => {
    expect(keys.map((line) => line.split(" ").filter((_, i) => i !== 1))).toEqual([
      ["ssh-rsa", "rsa"],
      ["ecdsa-sha2-nistp256", "ec"],
    ]);
    const exported = await programs.keywright(["key", "export", "ec", "--format", "ssh"]).end();
    expect(exported.out.split(" ")[1]).toBe(keyOf("ec").split(" ")[1]);
  });

  test.each([
    ["RSA", "rsa", "-I", ["-I", CLIENT]],
    ["RSA", "rsa", "PKCS11Provider", ["-o", `PKCS11Provider=${CLIENT}`]],
    ["ECDSA", "ec", "-I", ["-I", CLIENT]],
    ["ECDSA", "ec", "PKCS11Provider", ["-o", `PKCS11Provider=${CLIENT}`]],
  ])("ssh logs in with the %s key %s by %s, and asks for no PIN", async (type, name, _how, words) => {
    sshd.authorise(`${keyOf(name)}\n`);
    const before = sshd.server.said.length;
    const { out, err } = await programs.with([...ssh(...words), "echo in"]);
    expect([out, err]).toEqual(["in\n", ""]);
    expect(sshd.server.said.slice(before)).toMatch(new RegExp(`Accepted publickey for .* ssh2: ${type} SHA256:`));
  });

  test("a key that the server does not know logs nobody in", async () => {
    sshd.authorise(programs.read("host.pub"));
    const { out, err } = await programs.with([...ssh("-I", CLIENT), "echo in"]);
    expect(out).toBe("");
    expect(err).toContain("Permission denied (publickey)");
  });

  test("BatchMode wants a PIN though none is needed: ssh 9.2 refuses before it asks the token", async () => {
    sshd.authorise(`${keyOf("rsa")}\n`);
    const { out, err } = await programs.with([...ssh("-I", CLIENT, "-o", "BatchMode=yes"), "echo in"]);
    expect(out).toBe("");
    expect(err).toContain("pin required");
  });

  describe("ssh-agent", () => {
    /** In an agent of its own: adds the token with this PIN, lists, logs in, removes, lists. */
    async function agent(words: readonly string[], pin: string) {
      programs.write("ask", `#!/bin/sh\necho '${pin}'\n`, 0o700);
      programs.write(
        "use",
        `ssh-add -s ${CLIENT} && ssh-add -l && ${[...ssh("-o", "BatchMode=yes")].join(" ")} echo in && ssh-add -e ${CLIENT}; ssh-add -l\n`,
      );
      const env = { SSH_ASKPASS: programs.path("ask"), SSH_ASKPASS_REQUIRE: "force" };
      const command = ["--token", "demo", "--", "ssh-agent", "-P", CLIENT, "sh", "use"];
      return programs.keywright(["exec", "--verbose", ...words, ...command], { env }).end();
    }

    test("it takes the token with its PIN, which the agent always asks for, and logs in", async () => {
      sshd.authorise(`${keyOf("ec")}\n`);
      const { out, err } = await agent(["--no-unlock"], USER_PIN);
      expect(out).toMatch(
        /^2048 SHA256:\S+ rsa \(RSA\)\n256 SHA256:\S+ ec \(ECDSA\)\nin\nThe agent has no identities.\n$/,
      );
      expect(err).toContain(`Card added: ${CLIENT}`);
      expect(err).toContain(`Card removed: ${CLIENT}`);
    });

    test("a token that is unlocked here takes no PIN from it, and it sends one always", async () => {
      const { out, err } = await agent([], USER_PIN);
      expect(err).toContain("agent refused operation");
      expect(err).toContain("a PIN was sent, which went nowhere");
      expect(out).toBe("The agent has no identities.\n");
    });
  });
});
