/** What a token's list does with objects that are not as they should be. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openModule, Pin } from "../../src/index.ts";
import { TranscriptFolder } from "../support/transcript.ts";

test("certificates that cannot be read are listed as such, and can be deleted", async () => {
  const folder = new TranscriptFolder([
    { name: "user.pin", mode: 0o600, text: "1234-user\n" },
    { name: "so.pin", mode: 0o600, text: "so-12345678\n" },
  ]);
  onTestFinished(() => folder.remove());
  const run = (words: string) => folder.run(`keywright ${words} --store t.db --pin file:user.pin`);
  expect(run("token init --label demo --so-pin file:so.pin").code).toBe(0);
  await using module = await openModule("softtoken", {
    store: join(folder.path, "t.db"),
    state: join(folder.path, ".state"),
  });
  const token = await module.token({ label: "demo" });
  await token.withSession({ user: "USER", pin: Pin.from("1234-user"), write: true }, async (session) => {
    // What a program leaves that was killed while it made one; two, which fingerprints are to tell apart.
    for (const CKA_VALUE of [Uint8Array.of(0x30, 0), Uint8Array.of(1, 2, 3)]) {
      const half = { CKA_CLASS: "CKO_CERTIFICATE", CKA_CERTIFICATE_TYPE: "CKC_X_509" } as const;
      await session.create({
        ...half,
        CKA_TOKEN: true,
        CKA_SUBJECT: Uint8Array.of(0x30, 0),
        CKA_VALUE,
        CKA_LABEL: "half",
      });
    }
  });
  const { out, code } = run("key list pkcs11:token=demo");
  expect([code, out.match(/^certificate +half .*cannot be read/gm)?.length]).toEqual([0, 2]);
  expect(run("key delete 'pkcs11:token=demo;object=half;type=cert' --yes")).toMatchObject({ code: 0 });
  expect(run("key list pkcs11:token=demo").out).not.toContain("half");
});
