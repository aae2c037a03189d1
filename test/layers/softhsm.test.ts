/** All layers, one over the other, over SoftHSM2: as over the built-in token. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { Cryptoki, Ulong } from "../../src/cryptoki/port.ts";
import { refusalEntry } from "../../src/layers/audit/lines.ts";
import { AuditLog } from "../../src/layers/audit/log.ts";
import { recordUses } from "../../src/layers/audit/record.ts";
import { verifyLog } from "../../src/layers/audit/verify.ts";
import { confirmUses } from "../../src/layers/confirm/confirm.ts";
import { Confirmer } from "../../src/layers/confirm/confirmer.ts";
import { enforcePolicy } from "../../src/layers/policy/enforce.ts";
import { readPolicy } from "../../src/layers/policy/policy.ts";
import type { Refusal } from "../../src/layers/refusals.ts";
import { type TracedCall, traceCalls } from "../../src/layers/trace/trace.ts";
import { openProvider } from "../../src/modules/index.ts";
import { initialiseToken, LABEL } from "../conformance/targets.ts";
import { openSession } from "../softtoken/plain.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import { bytes, how, rvOf, SECRET, shownBy, template } from "./rig.ts";
import { NEVER } from "./under.ts";

test.skipIf(!peer("softhsm2"))("the stack shows, allows, asks, records and traces the same", async () => {
  const hsm = softHsm();
  const folder = mkdtempSync(join(tmpdir(), "keywright-layers-"));
  const provider = openProvider({ module: hsm.path, environment: hsm.environment, placement: "direct" });
  onTestFinished(async () => {
    await provider.close();
    hsm.remove();
    rmSync(folder, { recursive: true, force: true });
  });
  await initialiseToken(provider, utf8("so PIN 1234"), utf8("user PIN 1234"));
  const inner = await provider.open();
  await inner.call("C_Initialize", { args: {} });
  let slot: Ulong | undefined;
  for (const one of (await inner.call("C_GetSlotList", { tokenPresent: true })).slots) {
    if ((await inner.call("C_GetTokenInfo", { slot: one })).info.label === LABEL) slot = one;
  }

  const path = join(folder, "audit.jsonl");
  const log = await AuditLog.open({ path });
  const client = { uid: 33, pid: 7 };
  const refuse = (refusal: Refusal) => log.append(refusalEntry(refusal));
  const policy = await readPolicy(
    `clients: { web: { uid: [33], keys: [ { uri: 'pkcs11:token=${LABEL};object=www', operations: [sign] } ] } }`,
    "policy.yaml",
  );
  const questions: string[] = [];
  const confirmer = new Confirmer({
    ask: ({ key, operation }) => Promise.resolve(questions.push(`${operation} ${key.label}`) > 0),
  });
  const calls: TracedCall[] = [];
  const layers: ((one: Cryptoki) => Cryptoki)[] = [
    recordUses({ client, append: (entry) => log.append(entry) }),
    confirmUses({ confirmer, client, log: refuse }),
    enforcePolicy({ policy, client, counters: NEVER, log: refuse }),
    traceCalls({ sink: (call) => void calls.push(call) }),
  ];
  const app = layers.reduce((below, layer) => layer(below), inner);

  const session = await openSession(app, slot as number);
  await app.call("C_Login", { session, userType: 1, pin: utf8("user PIN 1234") });
  const P256 = Uint8Array.from(Buffer.from("06082a8648ce3d030107", "hex"));
  const made: Record<string, Ulong> = {};
  for (const label of ["www", "mail"]) {
    const names = { CKA_TOKEN: true, CKA_LABEL: label, CKA_ID: utf8(label) };
    const { privateKey } = await inner.call("C_GenerateKeyPair", {
      session,
      mechanism: how("CKM_EC_KEY_PAIR_GEN"),
      publicTemplate: template({ ...names, CKA_EC_PARAMS: P256, CKA_VERIFY: true }),
      privateTemplate: template({ ...names, CKA_SIGN: true, CKA_EXTRACTABLE: true, CKA_SENSITIVE: false }),
    });
    made[label] = privateKey;
  }

  expect(await shownBy({ app, session, handle: () => Promise.resolve(0) })).toEqual(["2 www", "3 www"]);
  await app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key: made.www! });
  expect(bytes((await app.call("C_Sign", { session, data: new Uint8Array(32), room: 100 })).output)).toHaveLength(64);
  const guess = () => app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key: made.mail! });
  expect(await rvOf(guess)).toBe("CKR_KEY_HANDLE_INVALID");
  const requests = [{ type: 0x11 }];
  expect((await app.call("C_GetAttributeValue", { session, object: made.www!, requests })).values).toEqual({
    rv: 0x11,
    values: [{ type: 0x11 }],
  });
  const generate = () =>
    app.call("C_GenerateKey", {
      session,
      mechanism: how("CKM_AES_KEY_GEN"),
      template: template({ CKA_CLASS: SECRET }),
    });
  expect(await rvOf(generate)).toBe("CKR_ACTION_PROHIBITED");
  await log.close();

  expect(questions).toEqual(["sign www"]);
  const text = readFileSync(path, "utf8");
  expect(verifyLog([{ name: path, text }]).faults).toEqual([]);
  const lines = text.trim().split("\n");
  const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(told.map(({ type, function: fn, result }) => [type, fn, result].filter(Boolean).join(" "))).toEqual([
    "start",
    "use C_Login CKR_OK",
    "use C_Sign CKR_OK",
    "refusal C_SignInit CKR_KEY_HANDLE_INVALID",
    "refusal C_GenerateKey CKR_ACTION_PROHIBITED",
    "checkpoint",
  ]);
  expect(told[2]!.keys).toMatchObject([{ as: "sign", label: "www", class: "CKO_PRIVATE_KEY" }]);
  expect(calls.at(-1)).toMatchObject({ function: "C_GenerateKey", result: "CKR_ACTION_PROHIBITED" });
  expect(calls.find(({ function: fn }) => fn === "C_FindObjects")!.results.objects).toHaveLength(2);
});
