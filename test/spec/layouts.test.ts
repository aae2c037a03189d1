/** The layout of every structure, against what a C compiler makes of the headers on this machine. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  functionOffset,
  INIT_ARGS,
  INTERFACE,
  STRUCTURE_LAYOUTS,
  TRIPLE,
  ULONG,
} from "../../src/native/module/layout.ts";
import { parameterLayout } from "../../src/native/module/parameters.ts";
import { PARAMETERS, type ParameterName } from "../../src/spec/parameters.ts";
import { STRUCTURES, type StructureName } from "../../src/spec/structures.ts";
import { peer } from "../support/peers.ts";

const hasCompiler = spawnSync("cc", ["--version"]).status === 0;

/** Sizes and offsets as the compiler has them: each expression of a line, in order. */
function compile(prelude: string, expressions: string[]): number[] {
  const folder = mkdtempSync(join(tmpdir(), "keywright-layout-"));
  try {
    const print = expressions.map((expression) => `  printf("%zu\\n", (size_t)(${expression}));`).join("\n");
    writeFileSync(
      join(folder, "layout.c"),
      `#include <stddef.h>\n#include <stdio.h>\n${prelude}\nint main(void) {\n${print}\n  return 0;\n}\n`,
    );
    const flags = ["-I/usr/include/nss", "-I/usr/include/nspr", "-I/usr/include/p11-kit-1"];
    const cc = spawnSync("cc", [...flags, "-o", join(folder, "layout"), join(folder, "layout.c")], {
      encoding: "utf8",
    });
    if (cc.status !== 0) throw new Error(cc.stderr);
    const run = spawnSync(join(folder, "layout"), { encoding: "utf8" });
    return run.stdout.trim().split("\n").map(Number);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `sizeof` and every `offsetof` of one structure. */
function expressions(type: string, fields: string[]): string[] {
  return [`sizeof(${type})`, ...fields.map((field) => `offsetof(${type}, ${field})`)];
}

/** The C names of a structure's fields, where they are not ours. */
const STRUCTURE_TYPES: Record<StructureName, string> = {
  info: "CK_INFO",
  slotInfo: "CK_SLOT_INFO",
  tokenInfo: "CK_TOKEN_INFO",
  sessionInfo: "CK_SESSION_INFO",
  mechanismInfo: "CK_MECHANISM_INFO",
};
const ul = (name: string) => `ul${name[0]!.toUpperCase()}${name.slice(1)}`;
const PLAIN = new Set(["flags", "slotID", "state"]);

describe.skipIf(!hasCompiler || !peer("p11-kit-headers"))("p11-kit's header", () => {
  const prelude = "#include <p11-kit/pkcs11.h>";

  test.each(Object.keys(STRUCTURES) as StructureName[])("%s is laid out as in C", (name) => {
    const { size, fields } = STRUCTURE_LAYOUTS[name];
    const cNames = fields.map(({ name: field, kind }) => (kind === "ulong" && !PLAIN.has(field) ? ul(field) : field));
    expect([size, ...fields.map(({ offset }) => offset)]).toEqual(
      compile(prelude, expressions(STRUCTURE_TYPES[name], cNames)),
    );
  });

  test("attributes, mechanisms, arguments and lists are laid out as in C", () => {
    const { size, type, pointer, length } = TRIPLE;
    expect([
      size,
      type,
      pointer,
      length,
      size,
      type,
      pointer,
      length,
      INIT_ARGS.flags,
      INIT_ARGS.reserved,
      functionOffset(0),
      functionOffset(67),
      ULONG,
    ]).toEqual(
      compile(prelude, [
        ...expressions("CK_ATTRIBUTE", ["type", "pValue", "ulValueLen"]),
        ...expressions("CK_MECHANISM", ["mechanism", "pParameter", "ulParameterLen"]),
        "offsetof(CK_C_INITIALIZE_ARGS, flags)",
        "offsetof(CK_C_INITIALIZE_ARGS, pReserved)",
        "offsetof(CK_FUNCTION_LIST, C_Initialize)",
        "offsetof(CK_FUNCTION_LIST, C_WaitForSlotEvent)",
        "sizeof(CK_ULONG)",
      ]),
    );
  });
});

/** The C type of a parameter, and the C fields in our order: pointer and length where we have bytes. */
const PARAMETER_TYPES: Record<ParameterName, [type: string, ...fields: string[]]> = {
  rsaPkcsPss: ["CK_RSA_PKCS_PSS_PARAMS", "hashAlg", "mgf", "sLen"],
  rsaPkcsOaep: ["CK_RSA_PKCS_OAEP_PARAMS", "hashAlg", "mgf", "source", "pSourceData", "ulSourceDataLen"],
  rsaAesKeyWrap: ["CK_RSA_AES_KEY_WRAP_PARAMS", "ulAESKeyBits", "pOAEPParams"],
  ecdh1Derive: ["CK_ECDH1_DERIVE_PARAMS", "kdf", "pSharedData", "ulSharedDataLen", "pPublicData", "ulPublicDataLen"],
  ecdhAesKeyWrap: ["CK_ECDH_AES_KEY_WRAP_PARAMS", "ulAESKeyBits", "kdf", "pSharedData", "ulSharedDataLen"],
  eddsa: ["CK_EDDSA_PARAMS", "phFlag", "pContextData", "ulContextDataLen"],
  xeddsa: ["CK_XEDDSA_PARAMS", "hash"],
  gcm: ["CK_GCM_PARAMS_V3", "pIv", "ulIvLen", "ulIvBits", "pAAD", "ulAADLen", "ulTagBits"],
  ccm: ["CK_CCM_PARAMS", "ulDataLen", "pNonce", "ulNonceLen", "pAAD", "ulAADLen", "ulMACLen"],
  aesCtr: ["CK_AES_CTR_PARAMS", "ulCounterBits", "cb"],
  camelliaCtr: ["CK_CAMELLIA_CTR_PARAMS", "ulCounterBits", "cb"],
  chacha20Poly1305: ["CK_SALSA20_CHACHA20_POLY1305_PARAMS", "pNonce", "ulNonceLen", "pAAD", "ulAADLen"],
  keyDerivationString: ["CK_KEY_DERIVATION_STRING_DATA", "pData", "ulLen"],
  cbcEncryptData16: ["CK_AES_CBC_ENCRYPT_DATA_PARAMS", "iv", "pData", "length"],
  cbcEncryptData8: ["CK_DES_CBC_ENCRYPT_DATA_PARAMS", "iv", "pData", "length"],
  hkdf: [
    "CK_HKDF_PARAMS",
    "bExtract",
    "bExpand",
    "prfHashMechanism",
    "ulSaltType",
    "pSalt",
    "ulSaltLen",
    "hSaltKey",
    "pInfo",
    "ulInfoLen",
  ],
  signAdditionalContext: ["CK_SIGN_ADDITIONAL_CONTEXT", "hedgeVariant", "pContext", "ulContextLen"],
  hashSignAdditionalContext: ["CK_HASH_SIGN_ADDITIONAL_CONTEXT", "hedgeVariant", "pContext", "ulContextLen", "hash"],
};

/** Of 3.2, which no packaged header has yet. */
const NOT_PACKAGED = `
typedef struct { CK_ULONG hedgeVariant; CK_BYTE_PTR pContext; CK_ULONG ulContextLen; } CK_SIGN_ADDITIONAL_CONTEXT;
typedef struct { CK_ULONG hedgeVariant; CK_BYTE_PTR pContext; CK_ULONG ulContextLen; CK_MECHANISM_TYPE hash; }
  CK_HASH_SIGN_ADDITIONAL_CONTEXT;
`;

describe.skipIf(!hasCompiler || !peer("nss-headers"))("NSS's header", () => {
  test.each(Object.keys(PARAMETERS) as ParameterName[])("the parameter %s is laid out as in C", (name) => {
    const [type, ...cFields] = PARAMETER_TYPES[name];
    const { size, fields } = parameterLayout(name);
    const offsets = fields.flatMap(({ at, length }) => (length === undefined ? [at] : [at, length]));
    expect([size, ...offsets]).toEqual(compile(`#include <pkcs11.h>${NOT_PACKAGED}`, expressions(type, cFields)));
  });

  test("interfaces and NSS's own arguments of C_Initialize are laid out as in C", () => {
    expect([INTERFACE.size, INTERFACE.name, INTERFACE.list, INIT_ARGS.size, INIT_ARGS.reserved]).toEqual(
      compile("#include <pkcs11.h>", [
        ...expressions("CK_INTERFACE", ["pInterfaceName", "pFunctionList"]),
        ...expressions("CK_C_INITIALIZE_ARGS", ["LibraryParameters"]),
      ]),
    );
  });
});
