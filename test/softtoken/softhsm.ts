/** SoftHSM2 as the source of keys to import: its C functions, called as they are (x86-64 and arm64 layout). */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { onTestFinished } from "vitest";
import type { Attribute } from "../../src/cryptoki/port.ts";
import { PEERS } from "../support/peers.ts";

type Call = (...args: unknown[]) => number;

const PROTOTYPES = [
  "ulong C_Initialize(void *args)",
  "ulong C_Finalize(void *reserved)",
  "ulong C_GetSlotList(uint8_t present, void *list, void *count)",
  "ulong C_OpenSession(ulong slot, ulong flags, void *app, void *notify, void *session)",
  "ulong C_Login(ulong session, ulong user, void *pin, ulong length)",
  "ulong C_CreateObject(ulong session, void *template, ulong count, void *object)",
  "ulong C_GenerateKeyPair(ulong session, void *mechanism, void *pub, ulong pubs, void *priv, ulong privs, void *a, void *b)",
  "ulong C_GenerateKey(ulong session, void *mechanism, void *template, ulong count, void *key)",
  "ulong C_WrapKey(ulong session, void *mechanism, ulong by, ulong key, void *out, void *length)",
  "ulong C_SignInit(ulong session, void *mechanism, ulong key)",
  "ulong C_Sign(ulong session, void *data, ulong length, void *out, void *outlen)",
];

const held: Uint8Array[] = [];

function address(bytes: Uint8Array): bigint {
  held.push(bytes);
  return bytes.length === 0 ? 0n : BigInt(koffi.address(bytes));
}

function longs(...values: bigint[]): Buffer {
  const buffer = Buffer.alloc(values.length * 8);
  values.forEach((value, i) => {
    buffer.writeBigUInt64LE(value, i * 8);
  });
  return buffer;
}

function template(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(
    attributes.map(({ type, value }) => {
      const bytes =
        typeof value === "boolean"
          ? Buffer.from([Number(value)])
          : value instanceof Uint8Array
            ? Buffer.from(value)
            : longs(BigInt(value as number));
      return longs(BigInt(type), address(bytes), BigInt(bytes.length));
    }),
  );
}

function mechanism(type: number, parameter: Uint8Array): Buffer {
  return longs(BigInt(type), address(parameter), BigInt(parameter.length));
}

/** CK_RSA_AES_KEY_WRAP_PARAMS with SHA-1, which is all that SoftHSM takes in OAEP. */
export function rsaAesParameter(aesBits: number): Uint8Array {
  const oaep = longs(0x220n, 1n, 1n, 0n, 0n);
  return longs(BigInt(aesBits), address(oaep));
}

export interface SoftHsm {
  create(attributes: readonly Attribute[]): bigint;
  generate(type: number, attributes: readonly Attribute[]): bigint;
  generatePair(type: number, publicOnes: readonly Attribute[], privateOnes: readonly Attribute[]): [bigint, bigint];
  wrap(type: number, parameter: Uint8Array, by: bigint, key: bigint): Uint8Array;
  sign(type: number, key: bigint, data: Uint8Array): Uint8Array;
}

/** A fresh token of SoftHSM2 in a folder, logged in. One per process. */
export function softHsm(folder: string): SoftHsm {
  const config = join(folder, "softhsm2.conf");
  mkdirSync(join(folder, "tokens"));
  writeFileSync(config, `directories.tokendir = ${join(folder, "tokens")}\n`);
  process.env.SOFTHSM2_CONF = config;
  const arguments_ = ["--init-token", "--free", "--label", "t", "--so-pin", "12345678", "--pin", "1234"];
  execFileSync("softhsm2-util", arguments_);
  // Node's own environment is not C's.
  (koffi.load(null).func("int setenv(const char *name, const char *value, int overwrite)") as unknown as Call)(
    "SOFTHSM2_CONF",
    config,
    1,
  );
  const library = koffi.load(PEERS.softhsm2.file);
  const calls = new Map(PROTOTYPES.map((text) => [/C_\w+/.exec(text)![0], library.func(text) as unknown as Call]));
  const call = (name: string, ...args: unknown[]) => {
    const rv = Number(calls.get(name)!(...args));
    if (rv !== 0) throw new Error(`SoftHSM ${name}: 0x${rv.toString(16)}`);
  };
  call("C_Initialize", null);
  onTestFinished(() => call("C_Finalize", null));
  const slots = new BigUint64Array(4);
  call("C_GetSlotList", 1, slots, BigUint64Array.of(4n));
  const handle = new BigUint64Array(2);
  call("C_OpenSession", slots[0], 6, null, null, handle);
  const session = handle[0];
  call("C_Login", session, 1, Buffer.from("1234"), 4);
  return {
    create(attributes) {
      call("C_CreateObject", session, template(attributes), attributes.length, handle);
      return handle[0]!;
    },
    generate(type, attributes) {
      call(
        "C_GenerateKey",
        session,
        mechanism(type, new Uint8Array(0)),
        template(attributes),
        attributes.length,
        handle,
      );
      return handle[0]!;
    },
    generatePair(type, publicOnes, privateOnes) {
      const second = new BigUint64Array(1);
      const [a, b] = [template(publicOnes), template(privateOnes)];
      const how = mechanism(type, new Uint8Array(0));
      call("C_GenerateKeyPair", session, how, a, publicOnes.length, b, privateOnes.length, handle, second);
      return [handle[0]!, second[0]!];
    },
    wrap(type, parameter, by, key) {
      const out = new Uint8Array(8192);
      const length = BigUint64Array.of(8192n);
      call("C_WrapKey", session, mechanism(type, parameter), by, key, out, length);
      return out.slice(0, Number(length[0]));
    },
    sign(type, key, data) {
      const out = new Uint8Array(1024);
      const length = BigUint64Array.of(1024n);
      call("C_SignInit", session, mechanism(type, new Uint8Array(0)), key);
      call("C_Sign", session, data, data.length, out, length);
      return out.slice(0, Number(length[0]));
    },
  };
}
