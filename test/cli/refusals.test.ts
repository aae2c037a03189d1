/** What is refused because it could not be as it was asked for, or would be more than was meant. */
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import { TranscriptFolder } from "../support/transcript.ts";

let folder: TranscriptFolder;
const PIN = "--pin file:user.pin";
const openssl = (...words: string[]) =>
  execFileSync("openssl", words, { cwd: folder.path, encoding: "utf8", stdio: "pipe" });
const run = (command: string) => folder.run(`keywright ${command}`);

beforeAll(() => {
  folder = new TranscriptFolder([
    { name: "user.pin", mode: 0o600, text: "1234-user\n" },
    { name: "so.pin", mode: 0o600, text: "so-12345678\n" },
  ]);
  const made = [
    "token init --label demo --so-pin file:so.pin --pin file:user.pin",
    `key generate ${PIN} --type EC:P-256 --id 1 --label ca`,
    `cert self-sign pkcs11:object=ca ${PIN} --subject CN=ca --extension v3_ca --import --out ca.crt`,
    `key generate ${PIN} --type Ed25519 --id 2 --label ed`,
    `key generate ${PIN} --type RSA:2048 --id 3 --label rsa`,
    "key export pkcs11:object=rsa --out rsa.pub",
  ];
  for (const command of made) expect(run(command), command).toMatchObject({ code: 0 });
  return () => folder.remove();
});

describe("a request that asks to be a CA", () => {
  const issue = `cert issue pkcs11:object=ca ${PIN} --csr ca.csr --copy-extensions --validity 1d`;

  beforeAll(() => {
    writeFileSync(
      join(folder.path, "ca.cnf"),
      "[req]\ndistinguished_name=dn\nreq_extensions=asked\n[dn]\n[asked]\nbasicConstraints=CA:TRUE\nkeyUsage=keyCertSign\nsubjectAltName=DNS:x.example\n",
    );
    openssl("genpkey", "-quiet", "-algorithm", "ED25519", "-out", "stranger.pem");
    openssl("req", "-new", "-key", "stranger.pem", "-subj", "/CN=x", "-config", "ca.cnf", "-out", "ca.csr");
  });

  test.each(["", "--extension basicConstraints=CA:FALSE", "--extension v3_ca"])("is refused with %j", (given) => {
    const { code, out, err } = run(`${issue} ${given}`);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^keywright: error: the request asks for what makes a CA: .*keyUsage=keyCertSign/);
    expect(err.includes("basicConstraints=CA:TRUE; ")).toBe(given === "");
  });

  test("gets what is given in its place, and the rest of what it asks for", () => {
    const given = "--extension basicConstraints=CA:FALSE --extension keyUsage=digitalSignature";
    expect(run(`${issue} ${given} --out x.crt`)).toEqual({ code: 0, out: "", err: "" });
    const text = openssl("x509", "-in", "x.crt", "-noout", "-text");
    expect(text).toContain("CA:FALSE");
    expect(text).toContain("Digital Signature");
    expect(text).toContain("DNS:x.example");
    expect(text).not.toContain("Certificate Sign");
  });

  test("is made one where that is said", () => {
    expect(run(`${issue} --extension v3_ca --extension keyUsage=critical,keyCertSign --out sub.crt`).code).toBe(0);
    expect(openssl("x509", "-in", "sub.crt", "-noout", "-text")).toContain("CA:TRUE");
  });
});

describe("--pss and --digest", () => {
  test.each(["digest", "max", "20"])("verify --pss takes OpenSSL's signature with the salt %s", (salt) => {
    openssl("genrsa", "-traditional", "-out", "rsa.pem", "2048");
    openssl("rsa", "-in", "rsa.pem", "-traditional", "-outform", "DER", "-out", "rsa.der");
    const id = { digest: "0x21", max: "0x22", "20": "0x23" }[salt]!;
    expect(run(`key import ${PIN} --in rsa.der --id ${id} --label ${salt}`).code).toBe(0);
    const options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", `rsa_pss_saltlen:${salt}`];
    openssl("dgst", "-sha256", "-sign", "rsa.pem", ...options, "-out", "pss.sig", "so.pin");
    const verify = `verify pkcs11:object=${salt} --pss --signature pss.sig --in`;
    expect(run(`${verify} so.pin`)).toMatchObject({ code: 0, err: "the signature is right\n" });
    expect(run(`${verify} user.pin`)).toMatchObject({ code: 1, err: "keywright: error: the signature is wrong\n" });
  });

  test("sign --pss makes what OpenSSL verifies with a salt as long as the digest", () => {
    expect(run(`sign pkcs11:object=rsa ${PIN} --pss --in so.pin --out own.sig`).code).toBe(0);
    const options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    const verified = openssl("dgst", "-sha256", "-verify", "rsa.pub", ...options, "-signature", "own.sig", "so.pin");
    expect(verified).toBe("Verified OK\n");
  });

  test.each([
    ["sign pkcs11:object=ed", "--in so.pin --digest sha256", "--digest: a key of type ed25519 has no digest to choose"],
    ["sign pkcs11:object=ca", "--in so.pin --pss", "--pss is for RSA keys, and this is one of type ec"],
    ["cert csr pkcs11:object=ed", "--subject CN=x --digest sha256", "--digest: a key of type ed25519 has no digest"],
    ["cert self-sign pkcs11:object=ca", "--subject CN=x --pss", "--pss is for RSA keys, and this is one of type ec"],
    ["verify pkcs11:object=ed", "--in so.pin --signature so.pin --digest sha256", "--digest: a key of type ed25519"],
  ])("%s %s is refused, for it would mean nothing", (command, options, said) => {
    const { code, out, err } = run(`${command} ${PIN} ${options}`);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(`keywright: error: ${said}`);
  });
});

describe("usages that a key cannot have", () => {
  test.each([
    ["X25519", "sign", "derive"],
    ["EC:P-256", "decrypt", "sign, derive"],
    ["Ed25519", "derive", "sign"],
    ["RSA:2048", "derive", "sign, decrypt, wrap"],
  ])("key generate of %s refuses %s", (type, usage, able) => {
    expect(run(`key generate ${PIN} --type ${type} --usage ${usage} --id 0x40 --label no`)).toEqual({
      code: 64,
      out: "",
      err: `keywright: error: --usage: a key of this type cannot ${usage}\nkeywright: hint: it can ${able}\n`,
    });
  });

  test("key import refuses them too", () => {
    openssl("genpkey", "-quiet", "-algorithm", "X25519", "-out", "x.pem");
    expect(run(`key import ${PIN} --in x.pem --usage sign --id 0x40 --label no`)).toMatchObject({
      code: 1,
      err: "keywright: error: a key of this type cannot sign\nkeywright: hint: it can derive\n",
    });
  });
});

describe("key import of DER", () => {
  test.each([
    ["SEC1", ["ecparam", "-name", "prime256v1", "-genkey", "-noout"]],
    ["PKCS#8", ["genpkey", "-quiet", "-algorithm", "ED448"]],
  ])("takes %s", (form, words) => {
    openssl(...words, "-outform", "DER", "-out", "key.der");
    expect(run(`key import ${PIN} --in key.der --id 0x5${form.length} --label ${form}`)).toMatchObject({ code: 0 });
    openssl("pkey", "-in", "key.der", "-inform", "DER", "-pubout", "-out", "expected.pem");
    expect(folder.run(`keywright key export 'pkcs11:id=%5${form.length}' | cmp - expected.pem`).code).toBe(0);
  });

  test("of PKCS#8 that is encrypted asks for its passphrase", () => {
    openssl("genpkey", "-quiet", "-algorithm", "ED25519", "-out", "plain.pem");
    openssl(..."pkcs8 -topk8 -in plain.pem -passout pass:1234-user -outform DER -out locked.der".split(" "));
    const command = `key import ${PIN} --in locked.der --id 0x60 --label locked`;
    expect(run(command).err).toContain("keywright: error: the private key in locked.der is encrypted\n");
    expect(run(`${command} --passphrase file:user.pin`)).toMatchObject({ code: 0 });
  });

  test("a key for RSASSA-PSS alone is told how it becomes one that can be imported", () => {
    openssl(..."genpkey -quiet -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out only-pss.pem".split(" "));
    const { code, err } = run(`key import ${PIN} --in only-pss.pem --id 0x70 --label pss`);
    expect(code).toBe(1);
    expect(err).toContain("keywright: error: a key of type rsa-pss cannot be imported\n");
    expect(err).toContain("openssl rsa -in FILE -traditional -outform DER");
    openssl("rsa", "-in", "only-pss.pem", "-traditional", "-outform", "DER", "-out", "any.der");
    expect(run(`key import ${PIN} --in any.der --id 0x70 --label pss`)).toMatchObject({ code: 0 });
  });
});

describe("what is not there", () => {
  test("a file that cert show was to show", () => {
    const { code, err } = run("cert show nofile.pem");
    expect(code).toBe(64);
    expect(err).toMatch(/^keywright: error: there is no file nofile.pem, and no declared name that it could be\n/);
  });

  test.each([
    ["cert import pkcs11:object=ca --in", "no certificate, in PEM or DER, is there"],
    ["cert issue pkcs11:object=ca --csr", "no certificate request, in PEM or DER, is there"],
    ["cert show ./", "no certificate, in PEM or DER, is there"],
  ])("%s names the file that is none", (command, said) => {
    const name = command.endsWith("/") ? "./so.pin" : "so.pin";
    const { code, err } = run(`${command.replace(/\.\/$/, "")} ${name}`);
    expect({ code, err }).toEqual({ code: 1, err: `keywright: error: ${name}: ${said}\n` });
  });

  test("a token, where none is named: which store, and what is declared", () => {
    writeFileSync(
      join(folder.path, "other.yaml"),
      "tokens: { away: { module: softtoken, store: away.db, label: away } }\nkeys: {}\n",
    );
    const { code, err } = run("key list --public --store none.db --file other.yaml");
    expect(code).toBe(1);
    expect(err).toContain("no token is named, and the module has no initialised token: ~/none.db\n");
    expect(err).toContain("keywright: hint: declared, and to be named: away\n");
  });
});

test("a brainpool key has no form in SSH, and is told those that have", () => {
  expect(run(`key generate ${PIN} --type EC:brainpoolP256r1 --id 0x7f --label bp`).code).toBe(0);
  const { code, err } = run("key export pkcs11:object=bp --format ssh");
  expect(code).toBe(1);
  expect(err).toBe(
    "keywright: error: SSH has no form for a key on brainpoolP256r1\n" +
      "keywright: hint: it has RSA, P-256, P-384, P-521, Ed25519 and Ed448\n",
  );
});

test.skipIf(!peer("softhsm2"))("a key of a kind that a token does not take: which, and what it takes", () => {
  const hsm = softHsm();
  onTestFinished(() => hsm.remove());
  const at = `-m ${hsm.path} ${PIN}`;
  const env = `SOFTHSM2_CONF=${hsm.environment.SOFTHSM2_CONF}`;
  expect(folder.run(`${env} keywright token init --label h --so-pin file:so.pin ${at}`).code).toBe(0);
  openssl("genpkey", "-quiet", "-algorithm", "X25519", "-out", "x25519.pem");
  const { code, err } = folder.run(`${env} keywright key import pkcs11:token=h ${at} --in x25519.pem --id 1 --label x`);
  expect(code).toBe(1);
  expect(err).toMatch(
    /^keywright: error: C_CreateObject: CKR_\w+, .*: the private key "x", of type X25519, in pkcs11:/,
  );
  expect(err).toMatch(/hint: the token makes keys of these kinds, and hardly takes others: RSA, EC/);
});

describe("certificates", () => {
  test("a key that has one gets no second one, and is told how to replace it", () => {
    const again = `cert self-sign pkcs11:object=ca ${PIN} --subject CN=other`;
    const { code, out, err } = run(`${again} --import`);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(
      "keywright: error: the key has a certificate under this id and label already: pkcs11:id=%01;",
    );
    expect(run(`${again} --out second.crt`).code).toBe(0);
    expect(run(`cert import pkcs11:object=ca ${PIN} --in second.crt`)).toMatchObject({ code: 1, err });
    const remove = /delete it first: keywright (.*)\n/.exec(err)![1]!;
    expect(run(`${remove} ${PIN} --yes`).code).toBe(0);
    expect(run(`cert import pkcs11:object=ca ${PIN} --in second.crt`).code).toBe(0);
    expect(folder.run("keywright cert export pkcs11:object=ca | cmp - second.crt").code).toBe(0);
  });

  test("a declared key's certificate is apply's to renew, and that is told", () => {
    const token =
      "{ module: softtoken, store: declared.db, label: declared, pin: { file: user.pin }, soPin: { file: so.pin } }";
    const key = "{ token: t, id: 1, type: EC:P-256, certificate: { subject: CN=www } }";
    writeFileSync(join(folder.path, "keys.yaml"), `tokens: { t: ${token} }\nkeys: { www: ${key} }\n`);
    expect(run("apply --yes").code).toBe(0);
    const { code, err } = run("cert self-sign www --subject CN=www --import");
    expect(code).toBe(1);
    expect(err).toContain("keywright: hint: keywright apply makes and renews the certificates of declared keys\n");
    rmSync(join(folder.path, "keys.yaml"));
  });

  test.each([
    ["--validity 0d", "--validity: a certificate of 0d would never be valid"],
    ["--serial 12", '--serial: "12" is not a serial number: write 0x'],
    ["--serial 0x00", '--serial: "0x00" is not a serial number: write 0x'],
    [`--serial 0x${"ff".repeat(20)}`, "is not a serial number: write 0x"],
  ])("%s is a usage error that names the option", (option, said) => {
    const { code, err } = run(`cert self-sign pkcs11:object=ed ${PIN} --subject CN=x ${option}`);
    expect(code).toBe(64);
    expect(err).toContain("keywright: error: --");
    expect(err).toContain(said);
  });
});
