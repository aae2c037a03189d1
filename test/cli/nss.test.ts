import { existsSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { peer, peerPath } from "../support/peers.ts";
import { TranscriptFolder } from "../support/transcript.ts";

const NSS = `--module ${peerPath("nss")} --store nss --pin file:user.pin`;

describe.skipIf(!peer("nss"))("the command on NSS", () => {
  function folder(): TranscriptFolder {
    const made = new TranscriptFolder([{ name: "user.pin", mode: 0o600, text: "1234-user\n" }]);
    onTestFinished(() => made.remove());
    return made;
  }

  test("token init sets the user PIN and wants no SO PIN; the label is the one that is given", () => {
    const { run } = bound(folder());
    expect(run(`token init ${NSS} --label mine`)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^label +mine$/m),
    });
    expect(run(`key generate pkcs11:token=mine ${NSS} --type EC:P-256 --id 1 --label k`)).toMatchObject({ code: 0 });
    expect(run(`key list pkcs11:token=mine ${NSS}`).out).toMatch(/private key +k +0x01/);
  });

  test("a token that is there is never emptied: NSS would ask for no PIN", () => {
    const { run, path } = bound(folder());
    run(`token init ${NSS} --label mine`);
    run(`key generate pkcs11:token=mine ${NSS} --type EC:P-256 --id 1 --label k`);
    const again = run(`token init pkcs11:token=mine ${NSS} --yes`);
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining("is there already") });
    expect(existsSync(`${path}/nss/key4.db`)).toBe(true);
    expect(run(`key list pkcs11:token=mine ${NSS}`).out).toMatch(/private key +k +0x01/);
  });
});

function bound(folder: TranscriptFolder) {
  return { path: folder.path, run: (words: string) => folder.run(`keywright ${words}`) };
}
