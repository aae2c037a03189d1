/** Tokens that are not shown, and files that must not be written over: nothing is made anew in their place. */
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { tokenMarker } from "../../src/lifecycle/markers.ts";
import { requireNothingHidden } from "../../src/modules/hidden.ts";
import { peer, peerPath } from "../support/peers.ts";
import { World } from "../support/world.ts";

const KEY = "  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k } }\n";

function world(token: string, keys = KEY): World {
  const made = new World({ token, keys });
  onTestFinished(() => made.remove());
  return made;
}

const published = (path: string) => KEY.replace("CN=k", `CN=k, publish: [{ path: ${path} }]`);

describe("a file is refused that would be written over", () => {
  test.each(["softtoken.db", "softtoken.db-wal", "pins.json", "hooks/x", "tokens/x", "replacements/x", "locks/x"])(
    "%s in the state folder",
    async (name) => {
      const w = world("{ module: softtoken, label: demo }", published(`state/${name}`));
      await expect(w.plan()).rejects.toThrow(
        `keys.k.certificate.publish.0.path: state/${name} is kept in the state folder`,
      );
    },
  );

  test("what is in the state folder, also by another way there, and by a request", async () => {
    const w = world("{ module: softtoken, label: demo }", published("other/pins.json"));
    mkdirSync(w.state, { recursive: true });
    symlinkSync(w.state, w.path("other"));
    await expect(w.plan()).rejects.toThrow("is kept in the state folder");
    w.declare(KEY.replace("CN=k", "CN=k, csr: state/pins.json"));
    await expect(w.plan()).rejects.toThrow("keys.k.certificate.csr: state/pins.json is kept in the state folder");
  });

  test("but other files may lie in the state folder", async () => {
    const w = world("{ module: softtoken, label: demo }", published("state/certs/k.pem"));
    expect(await w.applied()).toEqual(["k done"]);
  });

  test("what is no file: a FIFO", async () => {
    const w = world("{ module: softtoken, label: demo }", published("fifo"));
    execFileSync("mkfifo", [w.path("fifo")]);
    expect((await w.plan()).steps).toMatchObject([
      { action: "initialise" },
      { action: "refuse", reason: "fifo cannot be written: it is no file" },
    ]);
  });

  test.each(["store.db-wal", "store.db-shm", "store.db-journal"])("%s, beside a declared store", async (name) => {
    const w = world("{ module: softtoken, label: demo, store: store.db }", published(name));
    await expect(w.plan()).rejects.toThrow(`${name} is part of the store of demo, and would be lost`);
  });

  test("anything in a declared store that is a folder", async () => {
    const w = world(
      "{ module: /usr/lib/softhsm/libsofthsm2.so, label: demo, store: hsm }",
      published("hsm/softhsm2.conf"),
    );
    await expect(w.plan()).rejects.toThrow("hsm/softhsm2.conf is part of the store of demo, and would be lost");
  });
});

describe("a token that was there", () => {
  test("is not made anew while the disk that it is on is not mounted, until somebody says so", async () => {
    const w = world("{ module: softtoken, label: demo, store: disk/t.db }");
    expect(await w.applied()).toEqual(["k done"]);
    renameSync(w.path("disk"), w.path("away"));
    expect((await w.plan()).steps).toMatchObject([
      {
        action: "refuse",
        reason: expect.stringContaining("it was there when it was used last"),
        hints: ["insert it, or mount what it is on", expect.stringContaining("keywright token init demo")],
      },
    ]);
    expect(await w.applied()).toEqual(["k refused"]);
    rmSync(w.path("disk"), { recursive: true });
    renameSync(w.path("away"), w.path("disk"));
    expect(await w.applied()).toEqual(["k kept"]);
  });

  test("is told absent where softFail is declared", async () => {
    const w = world(
      "{ module: softtoken, label: demo, store: disk/t.db }",
      KEY.replace("id: 1", "id: 1, softFail: true"),
    );
    expect(await w.applied()).toEqual(["k done"]);
    renameSync(w.path("disk"), w.path("away"));
    expect(await w.steps()).toEqual(["skip k"]);
  });
});

test("two stores that differ in the library's environment alone are two", async () => {
  const w = world("{ module: softtoken, store: t.db, label: demo }");
  const [one, other] = ["a.db", "b.db"].map((store) => ({ name: "demo", module: "softtoken", label: "demo", store }));
  const marker = (token: typeof one) => tokenMarker("tokens", token as never, w.surroundings()).path;
  expect(marker(one)).not.toBe(marker(other));
  const hsm = (SOFTHSM2_CONF: string) =>
    marker({ ...one!, module: "/usr/lib/softhsm/libsofthsm2.so", environment: { SOFTHSM2_CONF } } as never);
  expect(hsm("/a")).not.toBe(hsm("/b"));
});

test("a token that a URI names is made with its label, once", async () => {
  const w = world('{ module: softtoken, store: t.db, uri: "pkcs11:token=other" }');
  expect((await w.plan()).steps).toContainEqual({ action: "initialise", token: "demo", label: "other" });
  expect(await w.applied()).toEqual(["k done"]);
  expect(await w.applied()).toEqual(["k kept"]);
});

test.each([
  'label: demo, serial: "1234"',
  'uri: "pkcs11:token=demo;serial=1234"',
  'uri: "pkcs11:token=demo;model=other"',
])("no token is made of one that would not be the declared one: %s", async (named) => {
  const w = world(`{ module: softtoken, store: t.db, ${named} }`);
  expect(await w.steps()).toEqual(["refuse k"]);
  expect(await w.applied()).toEqual(["k refused"]);
});

test("a token is made where its URI says what it will be", async () => {
  const w = world(
    '{ module: softtoken, store: t.db, uri: "pkcs11:token=demo;manufacturer=Keywright;model=softtoken" }',
  );
  expect(await w.applied()).toEqual(["k done"]);
});

describe.skipIf(!peer("softhsm2"))("on SoftHSM2", () => {
  const TOKEN = `{ module: ${peerPath("softhsm2")}, label: demo, store: hsm }`;
  let w: World;
  beforeAll(() => {
    w = new World({ token: TOKEN, keys: KEY });
  });
  afterAll(() => w.remove());

  const tokens = () => readdirSync(w.path("hsm/tokens"));
  const refused = async () => (await w.plan()).steps;

  test("a token whose file was emptied, as a kill during a login leaves it, is not taken for an absent one", async () => {
    expect(await w.applied()).toEqual(["k done"]);
    const [folder] = tokens();
    truncateSync(w.path(join("hsm/tokens", folder!, "token.object")));
    rmSync(w.state, { recursive: true });
    expect(await refused()).toMatchObject([
      {
        action: "refuse",
        reason: expect.stringContaining("SoftHSM2 shows 0 of the 1 tokens in"),
        hints: [
          expect.stringContaining(`${folder}/token.object`),
          expect.stringContaining("try again"),
          expect.stringContaining("keywright token init"),
        ],
      },
    ]);
    expect(await w.applied()).toEqual(["k refused"]);
    expect(tokens()).toEqual([folder]);
  });

  test("a configuration that leads elsewhere than to the store is refused", async () => {
    w.write("hsm/softhsm2.conf", "");
    expect(await refused()).toMatchObject([
      {
        action: "refuse",
        reason: expect.stringContaining("leads SoftHSM2 to /var/lib/softhsm/tokens/"),
        hints: [`write into it: directories.tokendir = ${w.path("hsm/tokens")}`],
      },
    ]);
  });

  test.skipIf(process.getuid?.() !== 0)("a folder that another user closed may hold the token", async () => {
    const other = world(TOKEN);
    mkdirSync(other.path("hsm/tokens/theirs"), { recursive: true });
    other.write("hsm/softhsm2.conf", `directories.tokendir = ${other.path("hsm/tokens")}\n`);
    const shown = () => requireNothingHidden({ module: peerPath("softhsm2")!, store: other.path("hsm") }, 0);
    chmodSync(other.folder, 0o755);
    chownSync(other.path("hsm"), 65534, 65534);
    chownSync(other.path("hsm/tokens"), 65534, 65534);
    chmodSync(other.path("hsm/tokens/theirs"), 0o700);
    process.seteuid!(65534);
    try {
      expect(shown).toThrow(
        new RegExp(
          `^SoftHSM2 may have tokens that it does not show: ${other.path("hsm/tokens/theirs")}: permission denied`,
        ),
      );
    } finally {
      process.seteuid!(0);
    }
  });

  test("a folder in which a token never came to be is no token", async () => {
    const other = world(TOKEN);
    mkdirSync(other.path("hsm/tokens/half"), { recursive: true });
    other.write("hsm/tokens/half/token.object", "");
    expect(await other.steps()).toContain("initialise demo");
  });
});

test("a state folder that cannot be is found out before a token is made", async () => {
  const w = world("{ module: softtoken, store: t.db, label: demo }");
  w.write("file", "");
  w.state = w.path("file/state");
  await expect(w.applied()).rejects.toThrow("a part of the path is not a folder");
  w.state = w.path("state");
  expect(await w.steps()).toContain("initialise demo");
});
