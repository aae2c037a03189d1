// Shows the whole of it on the built-in token: declare, plan, apply, look, verify, apply again. Everything happens in
// ./quickstart; remove that folder to begin anew.
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "quickstart");
const command = join(root, "dist/bin/keywright.js");

const DECLARATION = `# A declaration: which tokens there are, and which keys live in them.
tokens:
  demo: { module: softtoken, store: demo.db, label: demo, pin: { file: user.pin }, soPin: { file: so.pin } }

keys:
  my-ca:
    token: demo
    id: 1
    type: EC:secp384r1
    usage: [sign]
    certificate:
      subject: C=US/ST=California/L=Carlsbad/O=Example/CN=Example CA
      validity: 10y
      extensions: [ "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign" ]
      publish: [ { path: certs/my-ca.crt } ]

  www:
    token: demo
    id: 2
    type: RSA:3072
    certificate:
      issuer: my-ca
      subject: CN=www.example.com
      validity: 90d
      renewBefore: 30d
      extensions: [ "subjectAltName=DNS:www.example.com", "extendedKeyUsage=serverAuth" ]
      publish: [ { path: certs/www.pem, what: fullchain, mode: "0644" } ]

  client:
    token: demo
    id: 3
    type: EC:secp256r1
    certificate:
      issuer: my-ca
      subject: CN=client@example.com
      validity: 1y
      extensions: [ "extendedKeyUsage=clientAuth" ]
      publish: [ { path: certs/client.crt } ]

  signing:
    token: demo
    id: 4
    type: Ed25519
    certificate: { subject: CN=signing, validity: 2y, publish: [ { path: certs/signing.crt } ] }
`;

function digits(count) {
  return Array.from({ length: count }, () => randomInt(10)).join("");
}

function run(...words) {
  console.log(`\n$ keywright ${words.join(" ")}`);
  // All that it writes is in its own folder, the locks too.
  const env = { ...process.env, KEYWRIGHT_LOCKS: join(folder, "state/locks") };
  const done = spawnSync(process.execPath, [command, ...words, "--state", "state"], {
    cwd: folder,
    stdio: "inherit",
    env,
  });
  if (done.status !== 0) process.exit(done.status ?? 1);
}

if (!existsSync(join(folder, "keys.yaml"))) {
  mkdirSync(join(folder, "certs"), { recursive: true });
  writeFileSync(join(folder, "keys.yaml"), DECLARATION);
  writeFileSync(join(folder, "user.pin"), `${digits(8)}\n`, { mode: 0o600 });
  writeFileSync(join(folder, "so.pin"), `${digits(16)}\n`, { mode: 0o600 });
}
console.log(`In ${folder}: keys.yaml declares a CA, a server, a client and a signing key.`);

run("apply", "--yes");
run("status");

const openssl = spawnSync("openssl", ["version"], { encoding: "utf8" });
if (openssl.status === 0) {
  for (const leaf of ["certs/www.pem", "certs/client.crt"]) {
    console.log(`\n$ openssl verify -CAfile certs/my-ca.crt ${leaf}`);
    const done = spawnSync("openssl", ["verify", "-CAfile", "certs/my-ca.crt", leaf], {
      cwd: folder,
      stdio: "inherit",
    });
    if (done.status !== 0) process.exit(1);
  }
} else {
  console.log("\nopenssl is not installed: the chain was not verified with it.");
}

run("apply");
