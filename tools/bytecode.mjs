// Makes the bytecode of the command for the Node that runs this: what V8 has compiled once the usual commands have run.
import { spawnSync } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const ITSELF = fileURLToPath(import.meta.url);

const DECLARATION = `tokens:
  t: { module: softtoken, store: t.db, label: t, pin: { env: USER_PIN }, soPin: { env: SO_PIN } }
keys:
  ca:
    token: t
    id: 1
    type: EC:P-256
    certificate: { subject: CN=ca, validity: 10y, extensions: [v3_ca], publish: [ { path: ca.crt } ] }
  www:
    token: t
    id: 2
    type: EC:P-256
    certificate:
      { issuer: ca, subject: CN=www, validity: 90d, extensions: ["subjectAltName=DNS:www"], publish: [ { path: www.pem, what: fullchain } ] }
`;

const COMMANDS = [
  ["--help"],
  ["apply", "--yes"],
  ["plan"],
  ["key", "list", "--public", "-m", "softtoken", "--store", "t.db"],
];

/** Each command goes on with what the ones before have compiled. */
export function makeBytecode(command, cache) {
  const folder = mkdtempSync(join(tmpdir(), "keywright-build-"));
  try {
    writeFileSync(join(folder, "keys.yaml"), DECLARATION);
    // Of none, V8 wants nothing; but that it is there makes the command take this way.
    writeFileSync(cache, "");
    const { PATH } = process.env;
    const env = {
      PATH,
      STATE_DIRECTORY: folder,
      KEYWRIGHT_LOCKS: join(folder, "locks"),
      USER_PIN: "1234",
      SO_PIN: "5678",
    };
    for (const words of COMMANDS) {
      const args = [ITSELF, resolve(command), resolve(cache), ...words];
      const done = spawnSync(process.execPath, args, { cwd: folder, env, encoding: "utf8" });
      if (done.status !== 0 || statSync(cache).size === 0)
        throw new Error(`${words.join(" ")}: ${done.stderr || done.error}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the command in this process, and keeps what was compiled. */
function run(command, cache) {
  let script;
  const { Script } = vm;
  vm.Script = class extends Script {
    constructor(...args) {
      super(...args);
      script = this;
    }
  };
  process.on("exit", () => {
    writeFileSync(`${cache}.new`, script.createCachedData());
    renameSync(`${cache}.new`, cache);
  });
  createRequire(command)(command);
}

if (process.argv[1] === ITSELF) {
  const [command, cache, ...words] = process.argv.slice(2);
  process.argv = [process.execPath, command, ...words];
  run(command, cache);
}
