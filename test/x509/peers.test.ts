/** Names, extensions, certificates and requests, judged by OpenSSL. Keys are node:crypto's here; tokens come elsewhere. */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { derNull, derOid, derSequence } from "../../src/codec/der.ts";
import { CodecError } from "../../src/codec/errors.ts";
import { makeCertificate } from "../../src/x509/certificates.ts";
import { decodeName, encodeName, formatName, parseName } from "../../src/x509/names.ts";
import { publicKeyJwk, publicKeySsh } from "../../src/x509/public-keys.ts";
import { certificatePem, readCertificate } from "../../src/x509/read.ts";
import { makeRequest, readRequest, requestPem } from "../../src/x509/requests.ts";
import type { Signer } from "../../src/x509/signers.ts";
import { peer } from "../support/peers.ts";

const folder = mkdtempSync(join(tmpdir(), "keywright-x509-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const signer: Signer = {
  algorithm: derSequence(derOid("1.2.840.113549.1.1.11"), derNull),
  sign: (data) => Promise.resolve(new Uint8Array(sign("sha256", data, rsa.privateKey))),
};
const spkiOf = (key: KeyObject) => new Uint8Array(key.export({ format: "der", type: "spki" }));
const spki = spkiOf(rsa.publicKey);

function openssl(...words: string[]): string {
  return execFileSync("openssl", words, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** What OpenSSL prints of an extension in a certificate of ours. */
async function printed(extension: string): Promise<string> {
  const der = await makeCertificate(
    {
      subject: parseName("CN=x/emailAddress=a@example.com"),
      spki,
      notBefore: new Date("2026-01-01T00:00:00Z"),
      notAfter: new Date("2027-01-01T00:00:00Z"),
      extensions: [extension],
    },
    signer,
  );
  writeFileSync(join(folder, "x.pem"), certificatePem(der));
  return openssl("x509", "-in", "x.pem", "-noout", "-text").replaceAll(/\s+/g, " ");
}

describe.skipIf(!peer("openssl"))("OpenSSL reads", () => {
  test.each([
    ["basicConstraints=critical,CA:TRUE,pathlen:2", "X509v3 Basic Constraints: critical CA:TRUE, pathlen:2"],
    ["basicConstraints=CA:FALSE", "X509v3 Basic Constraints: CA:FALSE"],
    [
      "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
      "X509v3 Key Usage: critical Digital Signature, Certificate Sign, CRL Sign",
    ],
    ["keyUsage=keyAgreement,decipherOnly", "Key Agreement, Decipher Only"],
    [
      "extendedKeyUsage=serverAuth,clientAuth,1.2.3.4",
      "TLS Web Server Authentication, TLS Web Client Authentication, 1.2.3.4",
    ],
    [
      "subjectAltName=DNS:www.example.com,IP:192.0.2.1,IP:2001:db8::1,email:b@example.com,URI:https://example.com/x,RID:1.2.3",
      "DNS:www.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, email:b@example.com, URI:https://example.com/x, Registered ID:1.2.3",
    ],
    ["subjectAltName=email:copy", "email:a@example.com"],
    ["subjectAltName=dirName:C=US/CN=y", "DirName:/C=US/CN=y"],
    [
      "nameConstraints=permitted;DNS:.example.com,excluded;IP:192.0.2.0/255.255.255.0",
      "Permitted: DNS:.example.com Excluded: IP:192.0.2.0/255.255.255.0",
    ],
    ["nameConstraints=permitted;IP:2001:db8::/32", "Permitted: IP:2001:DB8:0:0:0:0:0:0/FFFF:FFFF:0:0:0:0:0:0"],
    ["certificatePolicies=1.2.3.4,2.5.29.32.0", "Policy: 1.2.3.4 Policy: X509v3 Any Policy"],
    [
      "authorityInfoAccess=OCSP;URI:http://ocsp.example.com,caIssuers;URI:http://example.com/ca.crt",
      "OCSP - URI:http://ocsp.example.com CA Issuers - URI:http://example.com/ca.crt",
    ],
    ["crlDistributionPoints=URI:http://example.com/ca.crl", "Full Name: URI:http://example.com/ca.crl"],
    ["1.2.3.4.5=critical,DER:04:02:AB:CD", "1.2.3.4.5: critical ...."],
    ["v3_ca", "X509v3 Basic Constraints: critical CA:TRUE"],
    ["v3_req", "X509v3 Key Usage: Digital Signature, Non Repudiation, Key Encipherment"],
  ])("%s", async (extension, expected) => {
    expect(await printed(extension)).toContain(expected);
  });

  test("key identifiers are added, and left out when that is asked for", async () => {
    expect(await printed("basicConstraints=CA:FALSE")).toMatch(
      /Subject Key Identifier: [0-9A-F:]+ X509v3 Authority Key Identifier: [0-9A-F:]+/,
    );
    expect(await printed("subjectKeyIdentifier=none")).not.toContain("Subject Key Identifier");
  });

  test("a certificate request, whose signature verifies, with the extensions asked for", async () => {
    const der = await makeRequest(parseName("C=US/CN=www"), spki, ["subjectAltName=DNS:www.example.com"], signer);
    writeFileSync(join(folder, "r.csr"), requestPem(der));
    const text = openssl("req", "-in", "r.csr", "-noout", "-verify", "-text");
    expect(text).toContain("DNS:www.example.com");
    const read = readRequest(Buffer.from(requestPem(der)));
    expect(Buffer.compare(read.spki, spki)).toBe(0);
    expect(formatName(read.subject)).toBe("CN=www,C=US");
    expect(read.extensions).toEqual(["2.5.29.17=DER:3011820f7777772e6578616d706c652e636f6d"]);
  });

  test("a request of OpenSSL's is read, and one whose signature is broken is refused", () => {
    openssl(
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      "k.pem",
      "-out",
      "o.csr",
      "-outform",
      "DER",
      "-subj",
      "/O=Example/CN=o",
    );
    const der = execFileSync("cat", [join(folder, "o.csr")]);
    expect(formatName(readRequest(der).subject)).toBe("CN=o,O=Example");
    der[der.length - 1]! ^= 1;
    expect(() => readRequest(der)).toThrow("not signed with the key that it carries");
  });

  // OpenSSL's configuration separates with semicolons and sections what a declaration writes in place.
  test.each([
    ["basicConstraints=critical,CA:TRUE,pathlen:2"],
    ["basicConstraints=CA:TRUE,pathlen:128"],
    ["basicConstraints=CA:FALSE"],
    ["keyUsage=digitalSignature"],
    ["keyUsage=critical,keyCertSign,cRLSign"],
    ["keyUsage=encipherOnly"],
    ["keyUsage=keyAgreement,decipherOnly"],
    ["extendedKeyUsage=serverAuth,clientAuth,codeSigning,emailProtection,timeStamping,OCSPSigning"],
    ["extendedKeyUsage=critical,ipsecIKE,msSmartcardLogin,anyExtendedKeyUsage,2.999.1234567.3"],
    ["subjectAltName=DNS:www.example.com,email:b@example.com,URI:https://example.com/x,RID:1.2.3"],
    ["subjectAltName=IP:192.0.2.1,IP:2001:db8::1,IP:::,IP:::1,IP:1:2:3:4:5:6:7:8,IP:::ffff:192.0.2.1,IP:fe80:1::"],
    ["subjectAltName=email:copy"],
    [`subjectAltName=${Array.from({ length: 30 }, (_, i) => `DNS:host-${i}.example.com`).join(",")}`],
    ["subjectAltName=dirName:C=US/O=Example/CN=y", "subjectAltName=dirName:other"],
    ["nameConstraints=permitted;DNS:.example.com,excluded;email:.example.net"],
    [
      "nameConstraints=critical,excluded;IP:192.0.2.0/25,permitted;IP:2001:db8::/33",
      "nameConstraints=critical,excluded;IP:192.0.2.0/255.255.255.128,permitted;IP:2001:db8::/ffff:ffff:8000::",
    ],
    ["certificatePolicies=1.2.3.4,2.5.29.32.0"],
    ["authorityInfoAccess=OCSP;URI:http://ocsp.example.com,caIssuers;URI:http://example.com/ca.crt"],
    ["crlDistributionPoints=URI:http://example.com/ca.crl,URI:http://example.net/ca.crl"],
    ["subjectKeyIdentifier=hash"],
    ["subjectKeyIdentifier=01:02:AB"],
    ["1.2.3.4.5=critical,DER:04:02:AB:CD"],
  ])("and writes the very bytes of %s", async (extension, itsForm = extension) => {
    const equals = itsForm.indexOf("=");
    writeFileSync(
      join(folder, "ext.cnf"),
      `[req]\ndistinguished_name = dn\nreq_extensions = ext\n[dn]\n[other]\nC = US\nO = Example\nCN = y\n` +
        `[ext]\n${itsForm.slice(0, equals)} = ${itsForm.slice(equals + 1)}\n`,
    );
    writeFileSync(join(folder, "rsa.pem"), rsa.privateKey.export({ format: "pem", type: "pkcs8" }));
    const subject = ["-subj", "/CN=x/emailAddress=a@example.com"];
    const theirs = openssl("req", "-new", "-key", "rsa.pem", "-sha256", "-utf8", "-config", "ext.cnf", ...subject);
    const ours = await makeRequest(parseName("CN=x/emailAddress=a@example.com"), spki, [extension], signer);
    expect(readRequest(ours).extensions).toEqual(readRequest(Buffer.from(theirs)).extensions);
    expect(requestPem(ours).replaceAll("\n", "")).toBe(theirs.replaceAll("\n", ""));
  });

  test.each(["keyid", "keyid:always,issuer:always", "issuer", "keyid,issuer:always"])(
    "and writes the very certificate with authorityKeyIdentifier=%s",
    async (value) => {
      const ec = generateKeyPairSync("ed25519");
      writeFileSync(join(folder, "rsa.pem"), rsa.privateKey.export({ format: "pem", type: "pkcs8" }));
      writeFileSync(join(folder, "ec.pem"), ec.privateKey.export({ format: "pem", type: "pkcs8" }));
      writeFileSync(
        join(folder, "aki.cnf"),
        `subjectKeyIdentifier = hash\nbasicConstraints = critical,CA:FALSE\nauthorityKeyIdentifier = ${value}\n`,
      );
      openssl(
        "req",
        "-x509",
        "-key",
        "rsa.pem",
        "-set_serial",
        "0x8012",
        "-subj",
        "/O=Example/CN=CA",
        "-out",
        "ca.pem",
      );
      openssl("req", "-new", "-key", "ec.pem", "-subj", "/CN=leaf", "-out", "leaf.csr");
      const issue = ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "rsa.pem", "-sha256"];
      const theirs = openssl(...issue, "-set_serial", "0xfe01", "-extfile", "aki.cnf");
      const made = new X509Certificate(theirs);
      const ours = await makeCertificate(
        {
          subject: parseName("CN=leaf"),
          spki: spkiOf(ec.publicKey),
          issuer: readCertificate(new X509Certificate(readFileSync(join(folder, "ca.pem"))).raw),
          notBefore: new Date(made.validFrom),
          notAfter: new Date(made.validTo),
          serial: Uint8Array.of(0xfe, 0x01),
          extensions: [
            "subjectKeyIdentifier=hash",
            "basicConstraints=critical,CA:FALSE",
            `authorityKeyIdentifier=${value}`,
          ],
        },
        signer,
      );
      expect(Buffer.from(ours).toString("hex")).toBe(made.raw.toString("hex"));
    },
  );

  test.each([
    [
      "C=US/ST=California/L=Carlsbad/O=Example/CN=Example CA",
      "C = US, ST = California, L = Carlsbad, O = Example, CN = Example CA",
    ],
    ["CN=Example CA,O=Example,C=US", "C = US, O = Example, CN = Example CA"],
    ["CN=a\\, b+UID=x,DC=example,DC=com", 'DC = com, DC = example, CN = "a, b" + UID = x'],
    ["CN=ü,emailAddress=a@example.com", "emailAddress = a@example.com, CN = \\C3\\BC"],
  ])("the name %s", async (name, expected) => {
    const der = await makeCertificate(
      { subject: parseName(name), spki, notBefore: new Date(0), notAfter: new Date(1e12), extensions: [] },
      signer,
    );
    writeFileSync(join(folder, "n.pem"), certificatePem(der));
    expect(openssl("x509", "-in", "n.pem", "-noout", "-subject").trim()).toBe(`subject=${expected}`);
    expect(formatName(decodeName(encodeName(parseName(name))))).toBe(formatName(parseName(name)));
  });

  test("dates to 2049 and beyond, and a serial number of 20 bytes", async () => {
    const serial = Buffer.from("ff".repeat(19), "hex");
    const der = await makeCertificate(
      {
        subject: parseName("CN=x"),
        spki,
        serial,
        notBefore: new Date("2049-12-31T23:59:59Z"),
        notAfter: new Date("2050-01-01T00:00:00Z"),
        extensions: [],
      },
      signer,
    );
    writeFileSync(join(folder, "d.pem"), certificatePem(der));
    const text = openssl("x509", "-in", "d.pem", "-noout", "-dates", "-serial");
    expect(text).toContain("notBefore=Dec 31 23:59:59 2049 GMT");
    expect(text).toContain("notAfter=Jan  1 00:00:00 2050 GMT");
    expect(text).toContain(`serial=${"FF".repeat(19)}`);
    const facts = readCertificate(der);
    expect([facts.notBefore.toISOString(), facts.notAfter.toISOString()]).toEqual([
      "2049-12-31T23:59:59.000Z",
      "2050-01-01T00:00:00.000Z",
    ]);
  });
});

describe("what cannot be is refused", () => {
  test.each([
    ["keyUsage=sign", '"sign" is not one of digitalSignature'],
    ["basicConstraints=CA:maybe", "is not CA:TRUE, CA:FALSE or pathlen:N"],
    ["subjectAltName=www.example.com", "is not a general name"],
    ["subjectAltName=IP:300.1.1.1", "is not an IP address"],
    ["subjectAltName=DNS:bücher.example", "is not a DNS name"],
    ["nameConstraints=permitted;IP:192.0.2.0/255.0.255.0", "is not a range of addresses"],
    ["certificatePolicies=abc", "is not an object identifier"],
    ["authorityInfoAccess=URI:http://x", "is not OCSP;URI:… or caIssuers;URI:…"],
    ["subjectAltName=IP:fe80::1%eth0", "is not an IP address"],
    ["subjectAltName=RID:1.40.1", "is not an object identifier"],
    ["nameConstraints=permitted;IP:192.0.2.0/33", "is not a range of addresses"],
    ["nameConstraints=permitted;IP:192.0.2.0/ffff::", "is not a range of addresses"],
    ["1.2.3=abc", "takes DER:hex"],
    ["foo=bar", 'there is no extension "foo"'],
    ["v3_server", "is not an extension"],
    ["keyUsage=", "has an empty value"],
  ])("%s", async (extension, fault) => {
    await expect(printed(extension)).rejects.toThrow(fault);
  });
});

describe("certificates and requests that cannot be are refused", () => {
  const dated = (notAfter: Date, serial?: Uint8Array) =>
    makeCertificate(
      { subject: parseName("CN=x"), spki, notBefore: new Date(0), notAfter, serial, extensions: [] },
      signer,
    );

  test.each([Uint8Array.of(0, 0), new Uint8Array(20).fill(0xff)])("the serial number %s", async (serial) => {
    await expect(dated(new Date(1e12), serial)).rejects.toThrow("positive number of at most 20 bytes");
  });

  test("a date beyond the year 9999", async () => {
    await expect(dated(new Date(Date.UTC(10_000, 0)))).rejects.toThrow("the years 0 to 9999");
  });

  test("a public key that is none", async () => {
    await expect(makeRequest(parseName("CN=x"), utf8("not a key"), [], signer)).rejects.toThrow("public key at byte");
  });

  test("a request that is broken off", async () => {
    const der = await makeRequest(parseName("CN=x"), spki, [], signer);
    expect(() => readRequest(der.subarray(0, 100))).toThrow(CodecError);
  });
});

describe("public keys", () => {
  test.skipIf(!peer("ssh-keygen")).each(["rsa", "ec-256", "ec-384", "ec-521", "ed25519"])(
    "ssh-keygen reads %s as it stands in authorized_keys",
    (kind) => {
      const [name, size] = kind.split("-");
      const { publicKey } =
        name === "rsa"
          ? rsa
          : name === "ec"
            ? generateKeyPairSync("ec", { namedCurve: `P-${size}` })
            : generateKeyPairSync("ed25519");
      writeFileSync(join(folder, "id.pub"), `${publicKeySsh(spkiOf(publicKey), "me@here")}\n`);
      const said = execFileSync("ssh-keygen", ["-l", "-f", "id.pub"], { cwd: folder, encoding: "utf8" });
      expect(said).toContain("me@here");
      writeFileSync(join(folder, "id.pem"), publicKey.export({ format: "pem", type: "spki" }));
      // It converts no Ed25519 key.
      if (name === "ed25519") return;
      const converted = execFileSync("ssh-keygen", ["-i", "-m", "PKCS8", "-f", "id.pem"], {
        cwd: folder,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      expect(publicKeySsh(spkiOf(publicKey))).toBe(converted.trim());
    },
  );

  test("a curve that JOSE does not name is refused, not guessed", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "brainpoolP256r1" });
    expect(() => publicKeyJwk(spkiOf(publicKey))).toThrow("JSON Web Key has no form");
  });
});
