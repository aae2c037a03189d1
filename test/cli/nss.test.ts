import { existsSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { peer, peerPath } from "../support/peers.ts";
import { TranscriptFolder } from "../support/transcript.ts";

const NSS = `--module ${peerPath("nss")} --store nss --pin file:user.pin`;

describe.skipIf(!peer("nss"))("the command on NSS", () => {
  function folder(): TranscriptFolder {
    const made = new TranscriptFolder([
      { name: "user.pin", mode: 0o600, text: "1234-user\n" },
      { name: "new.pin", mode: 0o600, text: "5678-user\n" },
    ]);
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

  test("nobody is told to give an SO PIN, for there is none", () => {
    const { run } = bound(folder());
    const withoutPin = NSS.replace(" --pin file:user.pin", "");
    const said: string[] = [];
    const refused = (words: string) => {
      const { code, err } = run(words);
      said.push(err);
      return { code, err: err.split("\n")[0] };
    };
    const none = { code: 64, err: "keywright: error: NSS softokn has no SO, and so no SO PIN" };
    expect(refused(`token init ${withoutPin} --label mine`)).toEqual({
      code: 64,
      err: "keywright: error: token init needs a user PIN",
    });
    expect(refused(`pin set pkcs11:slot-id=2 ${NSS}`)).toEqual(none);
    expect(refused(`token init ${NSS} --label mine --so-pin file:new.pin`)).toEqual(none);
    expect(run(`token init ${NSS} --label mine`).code).toBe(0);
    expect(refused(`pin set pkcs11:token=mine ${NSS}`).err).toContain("has a user PIN already");
    expect(refused(`pin unblock pkcs11:token=mine ${withoutPin} --new-pin file:new.pin`)).toEqual(none);
    expect(refused(`pin change --so pkcs11:token=mine ${NSS} --new-pin file:new.pin`)).toEqual(none);
    expect(said.join("")).not.toMatch(/add --so-pin|pin unblock/);
  });

  test("the user PIN is changed, although NSS wants the user logged in for it", () => {
    const { run } = bound(folder());
    run(`token init ${NSS} --label mine`);
    expect(run(`pin change pkcs11:token=mine ${NSS} --new-pin file:new.pin`)).toMatchObject({ code: 0 });
    expect(run(`key list pkcs11:token=mine ${NSS.replace("user.pin", "new.pin")}`)).toMatchObject({ code: 0 });
    expect(run(`key list pkcs11:token=mine ${NSS}`)).toMatchObject({ code: 4 });
  });
});

function bound(folder: TranscriptFolder) {
  return { path: folder.path, run: (words: string) => folder.run(`keywright ${words}`) };
}
