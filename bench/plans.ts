/** A plan with nothing to do, process start and login included, against the shell's way of finding that out. */
import { join } from "node:path";
import { declare, timed } from "./startup.ts";
import { LIBRARY, softHsm } from "./stores.ts";
import { type Row, ratioRow } from "./table.ts";

const GOAL = { keys: 100, ratio: 1 / 50 };

function declaration(keys: number): string {
  const one = (i: number) => `  key-${i}:
    token: demo
    id: ${i}
    type: EC:P-256
    certificate: { subject: "CN=key-${i}", validity: 1y, renewBefore: 30d }
`;
  return `tokens:
  demo:
    module: ${LIBRARY}
    environment: { SOFTHSM2_CONF: softhsm2.conf }
    label: demo
    pin: { file: user.pin }
    soPin: { file: so.pin }
keys:
${Array.from({ length: keys }, (_, i) => one(i + 1)).join("")}`;
}

/** What nixPKCS's script is told of a key. */
function shellSpec(i: number, pinFile: string): string {
  return JSON.stringify({
    id: i,
    token: "demo",
    uri: `pkcs11:token=demo;id=%${i.toString(16).padStart(2, "0")};type=private`,
    keyOptions: { algorithm: "EC", type: "secp256r1", usage: ["sign"], softFail: false, force: false },
    certOptions: {
      digest: "SHA256",
      subject: `CN=key-${i}`,
      validityDays: 365,
      renewalPeriod: 30,
      extensions: [],
      pinFile,
    },
  });
}

/**
 * @param command the built command
 * @param shell the script that looks at one key
 * @param sample how many keys the shell looks at; the time of the others is reckoned from theirs
 */
export function measurePlan(
  folder: string,
  programs: { command: string; shell: string },
  { keys, rounds, sample = keys }: { keys: number; rounds: number; sample?: number },
): Row {
  const cwd = join(folder, `plan-${keys}`);
  const { environment } = softHsm(cwd, "demo");
  const env = { ...process.env, ...environment };
  declare(cwd, declaration(keys).replace("softhsm2.conf", join(cwd, "softhsm2.conf")));
  const { command, shell } = programs;
  timed(process.execPath, [command, "apply", "--yes", "--state", "state"], cwd, env);
  const plan = () => timed(process.execPath, [command, "plan", "--exit-code", "--state", "state"], cwd, env);
  const pinFile = join(cwd, "user.pin");
  const look = () => {
    let total = 0;
    for (let i = 1; i <= sample; i += 1) {
      const spec = { NIXPKCS_KEY_SPEC: shellSpec(i, pinFile), NIXPKCS_LOCK_FILE: join(cwd, "lock"), MODULE: LIBRARY };
      total += timed("bash", [shell, `key-${i}`], cwd, { ...env, ...spec });
    }
    return (total * keys) / sample;
  };
  const pairs = { ours: [] as number[], theirs: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    pairs.ours.push(plan());
    pairs.theirs.push(look());
  }
  const against = sample === keys ? "shell" : `shell, from ${sample} keys`;
  return ratioRow(
    `plan, nothing to do, ${keys} ${keys === 1 ? "key" : "keys"}`,
    against,
    pairs,
    keys === GOAL.keys ? GOAL.ratio : undefined,
  );
}
