/** Reading declarations. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { DeclarationError, declarationSchema, readDeclaration } from "../../src/lifecycle/declaration.ts";

const TOKENS = "tokens:\n  demo: { module: softtoken, label: demo }\n";

async function faults(keys: string, tokens: string = TOKENS, file = "keys.yaml"): Promise<string[]> {
  try {
    await readDeclaration(`${tokens}keys:\n${keys}`, file);
  } catch (error) {
    if (!(error instanceof DeclarationError)) throw error;
    return error.faults.map(
      ({ line, path, message, hint }) => `${line} ${path}: ${message}${hint === undefined ? "" : ` (${hint})`}`,
    );
  }
  return [];
}

async function idOf(id: string): Promise<string> {
  const { keys } = await readDeclaration(
    `${TOKENS}keys:\n  k: { token: demo, id: ${id}, type: Ed25519 }\n`,
    "keys.yaml",
  );
  return keys.k!.id;
}

describe("an id", () => {
  test.each([
    ["0", "00"],
    ["1", "01"],
    ["10", "0a"],
    ["256", "0100"],
    ["9223372036854775807", "7fffffffffffffff"],
    ["18446744073709551616", "010000000000000000"],
    ['"0x10"', "10"],
    ['"0x0001"', "0001"],
    ["0x0001", "0001"],
    ['"0xDEADbeef"', "deadbeef"],
  ])("%s is 0x%s (N34; leading zeroes are kept, B14)", async (written, id) => {
    expect(await idOf(written)).toBe(id);
  });

  test("a bare digit string is refused, with both readings", async () => {
    expect(await faults('  k: { token: demo, id: "10", type: Ed25519 }\n')).toEqual([
      expect.stringMatching(
        /^4 keys\.k\.id: the id "10" could mean the integer 10 \(without quotes, the bytes 0x0a\) or the bytes "0x10"/,
      ),
    ]);
  });

  test.each(['"0x1"', "-1", "1.5", "[1]", '"xyz"'])("%s is refused", async (written) => {
    expect(await faults(`  k: { token: demo, id: ${written}, type: Ed25519 }\n`)).toHaveLength(1);
  });
});

describe("writeAs: so", () => {
  const key = "  k: { token: demo, id: 1, type: Ed25519 }\n";
  const of = (module: string, more = "") =>
    faults(key, `tokens:\n  demo: { module: ${module}, label: demo, writeAs: so${more} }\n`);

  test.each(["softtoken", "/usr/lib/softhsm/libsofthsm2.so", "libsoftokn3.so"])(
    "is refused where the SO makes no keys: %s",
    async (module) => {
      expect(await of(module)).toEqual([
        expect.stringMatching(
          /^2 tokens\.demo\.writeAs: the SO of .* neither sees nor makes private keys \(leave writeAs out/,
        ),
      ]);
    },
  );

  test("is taken where the SO makes keys, or nobody knows, and needs an SO PIN", async () => {
    for (const module of ["libykcs11.so", "/opt/other.so"]) {
      expect(await of(module, ", soPin: { prompt: true }")).toEqual([]);
      expect(await of(module)).toEqual([expect.stringContaining("there is no soPin")]);
    }
  });
});

describe("a file that is written", () => {
  const tokens =
    "tokens:\n  demo: { module: softtoken, label: demo, store: s/token.db, initHook: ./init, pin: { file: user.pin }, soPin: { file: so.pin } }\n";
  test.each([
    ["keys.yaml", "the declaration itself"],
    ["./user.pin", "a PIN file of demo"],
    ["x/../so.pin", "a PIN file of demo"],
    ["s/token.db", "the store of demo"],
    ["init", "the initHook of demo"],
    ["reload", "the hook of k"],
  ])("%s is refused: it is %s", async (path, what) => {
    const key = `  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=k, hook: reload, publish: [ { path: ${path} } ] } }\n`;
    expect(await faults(key, tokens)).toEqual([
      `4 keys.k.certificate.publish.0.path: ${path} is ${what}, and would be lost (choose another path)`,
    ]);
  });

  test("paths that meet through a symbolic link are one path", async () => {
    const folder = mkdtempSync(join(tmpdir(), "keywright-links-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, "certs"));
    symlinkSync("certs", join(folder, "live"));
    writeFileSync(join(folder, "certs/user.pin"), "1234");
    symlinkSync("certs/user.pin", join(folder, "user.pin"));
    const key = (name: string, id: number, path: string) =>
      `  ${name}: { token: demo, id: ${id}, type: Ed25519, certificate: { subject: CN=k, publish: [ { path: ${path} } ] } }\n`;
    const inFolder = (keys: string) => faults(keys, tokens, join(folder, "keys.yaml"));
    // The folder of the second is there not yet.
    for (const name of ["k.crt", "new/k.crt"]) {
      expect(await inFolder(key("a", 1, `certs/${name}`) + key("b", 2, `live/${name}`))).toEqual([
        `5 keys.b.certificate.publish.0.path: live/${name} is written for a already (choose another path)`,
      ]);
    }
    expect(await inFolder(key("a", 1, "live/user.pin"))).toEqual([
      expect.stringContaining("live/user.pin is a PIN file of demo, and would be lost"),
    ]);
    expect(await inFolder(key("a", 1, "certs/k.crt") + key("b", 2, "k.crt"))).toEqual([]);
    expect(await inFolder(key("a", 1, "live/../keys.yaml"))).toEqual([
      expect.stringContaining("is the declaration itself"),
    ]);
  });

  test("a request is not written over the certificate that is to come", async () => {
    const key =
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=k, csr: k.crt, import: k.crt } }\n";
    expect(await faults(key)).toEqual([expect.stringContaining("k.crt is the import file of k")]);
  });
});

describe("an issuer", () => {
  const two = (extensions: string, of = "") =>
    `  ca: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=ca, extensions: [ ${extensions} ] } }\n` +
    `  www: { token: demo, id: 2, type: Ed25519, certificate: { subject: CN=www, issuer: ca${of} } }\n`;

  test("may sign certificates by its key usage", async () => {
    const usage = (words: string) => two(`"basicConstraints=critical,CA:TRUE", "keyUsage=critical,${words}"`);
    expect(await faults(usage("digitalSignature"))).toEqual([
      expect.stringContaining("the keyUsage of ca does not let it issue certificates"),
    ]);
    expect(await faults(usage("keyCertSign"))).toEqual([]);
  });

  test("has no more CAs below it than its pathlen allows", async () => {
    const constrained = (length: number, of: string) =>
      two(`"basicConstraints=critical,CA:TRUE,pathlen:${length}"`, of);
    expect(await faults(constrained(0, ", extensions: [v3_ca]"))).toEqual([
      expect.stringContaining("ca may have no CA so far below it (pathlen:0)"),
    ]);
    expect(await faults(constrained(0, ""))).toEqual([]);
    expect(await faults(constrained(1, ", extensions: [v3_ca]"))).toEqual([]);
  });
});

test("a token's label does not end with a blank, for it could not be told from padding", async () => {
  const tokens = 'tokens:\n  demo: { module: softtoken, label: "t " }\n';
  expect(await faults("  k: { token: demo, id: 1, type: Ed25519 }\n", tokens)).toEqual([
    expect.stringContaining("a token's label does not end with a blank"),
  ]);
});

test("one serial number for two certificates of one issuer is refused", async () => {
  const ca =
    '  ca: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=ca, extensions: [v3_ca], serial: "0x01" } }\n';
  const leaf = (name: string, id: number, serial: string) =>
    `  ${name}: { token: demo, id: ${id}, type: Ed25519, certificate: { subject: CN=${name}, issuer: ca, serial: "${serial}" } }\n`;
  expect(await faults(ca + leaf("a", 2, "0x02") + leaf("b", 3, "0x0002") + leaf("c", 4, "0x0001"))).toEqual([
    expect.stringContaining("a has the same serial number by the same issuer"),
    expect.stringContaining("ca has the same serial number by the same issuer"),
  ]);
});

describe("what is wrong is said with line, path and the nearest name", () => {
  test.each([
    ["  k: { token: demo, id: 1, tpye: Ed25519 }\n", '4 keys.k.tpye: a key has no field "tpye" (did you mean type?)'],
    ["  k: { token: dmeo, id: 1, type: Ed25519 }\n", '4 keys.k.token: there is no token "dmeo" (did you mean demo?)'],
    [
      "  k: { token: demo, id: 1, type: Ed25519, usage: [sing] }\n",
      'keys.k.usage.0: a usage is one of sign, derive, decrypt, wrap, here is "sing" (did you mean sign?)',
    ],
    ["  k: { token: demo, id: 1, type: X25519, usage: [sign] }\n", "keys.k.usage: a key of this type cannot sign"],
    ["  k: { token: demo, id: 1, type: RSA:1024 }\n", "an RSA key has 2048 to 8192 bits"],
    ["  k: { token: demo, id: 1, type: EC:secp384 }\n", "is not a key type"],
    ["  k: { token: demo, id: 1, type: Ed25519, validStarting: 2026-02-30 }\n", "is not a date"],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, validity: 10 } }\n",
      "a length of time is text, here is 10",
    ],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, validity: 10x } }\n",
      "is not a length of time",
    ],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, validity: 1001y } }\n",
      'keys.k.certificate.validity: "1001y" is too long: write 1000y at most',
    ],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, validity: 999999y } }\n",
      '"999999y" is too long',
    ],
    [
      `  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=${"a".repeat(66)} } }\n`,
      "has a CN of 66 characters, at most 64",
    ],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: XX=a } }\n",
      '"XX" where an attribute like CN=… is expected',
    ],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, extensions: [ keyUsage=digitalSignatur ] } }\n",
      'keys.k.certificate.extensions.0: "keyUsage=digitalSignatur": "digitalSignatur" is not one of',
    ],
    [
      "  k: { token: demo, id: 1, type: X25519, certificate: { subject: CN=a } }\n",
      "a key that cannot sign cannot sign its own certificate",
    ],
    [
      "  a: { token: demo, id: 1, type: Ed25519 }\n  b: { token: demo, id: 1, type: Ed25519 }\n",
      "5 keys.b.id: a has the same id in the same token: 0x01",
    ],
    [
      "  a: { token: demo, id: 1, type: Ed25519 }\n  b: { token: demo, id: 2, label: a, type: Ed25519 }\n",
      "5 keys.b.label: a has the same label",
    ],
    [
      "  a: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, issuer: b } }\n",
      'keys.a.certificate.issuer: there is no key "b"',
    ],
    [
      "  k: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=a, publish: [{ path: a }, { path: ./a }] } }\n",
      "./a is written for k already",
    ],
    ["  k: { token: demo, id: 1 }\n", "4 keys.k: a key lacks type"],
    ["  k: 1\n", "4 keys.k: a key is a mapping, here is 1"],
    [
      "  k: { token: demo, id: 1, type: Ed25519 }\n  k: { token: demo, id: 2, type: Ed25519 }\n",
      "not YAML: Map keys must be unique",
    ],
    ["  k: [\n", "not YAML"],
  ])("%j", async (keys, expected) => {
    expect((await faults(keys)).join("\n")).toContain(expected);
  });

  test("an issuer cycle and an issuer that is no CA", async () => {
    const key = (name: string, id: number, issuer: string) =>
      `  ${name}: { token: demo, id: ${id}, type: Ed25519, certificate: { subject: CN=${name}, issuer: ${issuer}, extensions: [v3_ca] } }\n`;
    expect((await faults(key("a", 1, "b") + key("b", 2, "a"))).join()).toContain(
      "the issuers go in a circle: a <- b <- a",
    );
    const leaf =
      "  root: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=r } }\n  leaf: { token: demo, id: 2, type: Ed25519, certificate: { subject: CN=l, issuer: root } }\n";
    expect(await faults(leaf)).toEqual([
      "5 keys.leaf.certificate.issuer: root is no CA (give root the extension basicConstraints=critical,CA:TRUE)",
    ]);
  });

  test("a PIN that stands in the declaration itself is refused, and not repeated", async () => {
    const said = await faults(
      "  k: { token: demo, id: 1, type: Ed25519 }\n",
      "tokens:\n  demo: { module: softtoken, label: demo, pin: { value: 87654321 } }\n",
    );
    expect(said.join()).toContain("a PIN comes from one of file, env");
    expect(said.join()).not.toContain("87654321");
    for (const pin of ['"87654321"', "87654321"]) {
      const plain = await faults(
        "  k: { token: demo, id: 1, type: Ed25519 }\n",
        `tokens:\n  demo: { module: softtoken, label: demo, pin: ${pin} }\n`,
      );
      expect(plain.join()).toContain("a PIN comes from one of file, env");
      expect(plain.join()).not.toContain("87654321");
    }
  });

  test("every fault is told at once", async () => {
    expect(await faults("  a: { token: demo, id: x, type: y }\n  b: { tokn: demo }\n")).toHaveLength(6);
  });

  test("an alias bomb and an oversized file end in an error, soon", async () => {
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${"bcdefgh"
      .split("")
      .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(", ")}]`)
      .join("\n")}\ntokens: *h\nkeys: {}\n`;
    await expect(readDeclaration(bomb, "keys.yaml")).rejects.toThrow(DeclarationError);
    await expect(readDeclaration(`# ${"x".repeat(5_000_000)}`, "keys.yaml")).rejects.toThrow("more than 4194304 bytes");
  });
});

describe("YAML that is no declaration is told in our words:", () => {
  test.each([
    ["lists", "[".repeat(100_000)],
    ["mappings", "{a: ".repeat(100_000)],
    ["blocks", `\n    ${"- ".repeat(100_000)}`],
    ["keys", "? ".repeat(100_000)],
    ["closed lists", "[".repeat(1000) + "]".repeat(1000)],
  ])("%s too deep in each other are one fault", async (_what, nested) => {
    expect(await faults(`  k: ${nested}\n`)).toEqual([
      expect.stringMatching(/^[45] : it is nested more than 100 levels deep$/),
    ]);
  });

  test("a second document", async () => {
    const key = "  k: { token: demo, id: 1, type: Ed25519 }\n";
    expect(await faults(`${key}---\nkeys: {}\n`)).toEqual([
      "5 : a second YAML document begins here; a declaration is one",
    ]);
    expect(await faults(`${key}...\n# the end\n`)).toEqual([]);
  });

  test("a merge key, in a mapping of fields and of names, and where YAML 1.1 is asked for", async () => {
    const said = "merge keys (<<) are not supported: YAML 1.2 has none (write the fields out, or alias a whole value)";
    const base = "  base: &base { token: demo, id: 1, type: Ed25519 }\n";
    expect(await faults(`${base}  k: { <<: *base, id: 2 }\n`)).toEqual([`5 keys.k.<<: ${said}`]);
    expect(await faults(`${base}  <<: { k: *base }\n`)).toEqual([`5 keys.<<: ${said}`]);
    const old = `%YAML 1.1\n---\n${TOKENS}`;
    expect(await faults(`${base}  k: { <<: *base, id: 2 }\n`, old)).toEqual([`7 keys.k.<<: ${said}`]);
  });

  test("of very many faults the first are told, and how many more there are", async () => {
    const keys = Array.from({ length: 100 }, (_, i) => `  k${i}: { token: demo, id: x, type: Ed25519 }\n`).join("");
    const error = await readDeclaration(`${TOKENS}keys:\n${keys}`, "keys.yaml").catch((one: unknown) => one);
    if (!(error instanceof DeclarationError)) throw error;
    expect(error.message).toBe("keys.yaml has 100 faults");
    expect(error.faults).toHaveLength(100);
    expect(error.hints.length).toBeLessThanOrEqual(22);
    const shown = error.hints.filter((hint) => hint.startsWith("keys.yaml:")).length;
    expect(error.hints.at(-1)).toBe(`and ${100 - shown} more`);
  });
});

test("JSON is read as YAML is, and the defaults are filled in", async () => {
  const json = JSON.stringify({
    tokens: { demo: { module: "softtoken", label: "demo", pin: { file: "user.pin" } } },
    keys: {
      www: { token: "demo", id: 2, type: "rsa:3072", certificate: { subject: "CN=www" } },
      dh: { token: "demo", id: 3, type: "x25519" },
    },
  });
  const { keys } = await readDeclaration(json, "keys.json");
  expect(keys.www).toMatchObject({
    label: "www",
    usage: ["sign"],
    retireOld: "keep",
    softFail: false,
    type: { algorithm: "RSA", bits: 3072 },
    certificate: { validity: { amount: 365, unit: "d" }, renewKey: false, pss: false, extensions: [], publish: [] },
  });
  expect(keys.dh).toMatchObject({ usage: ["derive"], type: { algorithm: "Montgomery", curve: "X25519" } });
  expect(keys.dh).not.toHaveProperty("certificate");
});

test("the JSON Schema describes every field with a sentence", () => {
  const bare: string[] = [];
  JSON.stringify(declarationSchema(), (key, value: unknown) => {
    const properties = (value as { properties?: Record<string, { description?: string }> } | null)?.properties;
    for (const [name, field] of Object.entries(properties ?? {})) if (!field.description) bare.push(`${key}.${name}`);
    return value;
  });
  expect(bare).toEqual([]);
  expect(declarationSchema()).toMatchObject({ required: ["tokens", "keys"], additionalProperties: false });
});
