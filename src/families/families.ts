/**
 * Token families: what differs between them, as data. A family is told from what the token and its library say.
 * @module
 */
import type { Structure } from "../cryptoki/port.ts";
import type { CurveName } from "../spec/curves.ts";

export type FamilyName = "softtoken" | "softhsm" | "tpm2" | "nss" | "yubikey" | "smartcard-hsm" | "yubihsm" | "generic";

export interface Family {
  readonly name: FamilyName;
  /** What people call it. */
  readonly title: string;
  /** A library's file name, without its folder. */
  readonly library?: RegExp;
  /** CK_TOKEN_INFO's manufacturerID and model; both must match where both are given. */
  readonly manufacturer?: RegExp;
  readonly model?: RegExp;
  /** Where its library runs unless declared: see modules/. */
  readonly placement: "direct" | "thread" | "process";
  /** Its PINs never lock, whatever its flags say. */
  readonly neverLocks: boolean;
  /** CKF_USER_PIN_COUNT_LOW and CKF_SO_PIN_COUNT_LOW tell of every failure since the last success. */
  readonly showsFailures: boolean;
  /** What a wrong PIN costs besides a try. */
  readonly sharedTries?: string;
  /** It keeps the labels that objects are given; without, only ids address them. */
  readonly labels: boolean;
  /** CKA_ID and CKA_LABEL of its objects can be changed, so a key can be rotated without a gap. */
  readonly renames: boolean;
  /** EC curves that it makes keys on; whatever its mechanism's sizes allow where absent. */
  readonly curves?: readonly CurveName[];
  /** What its keys can be made for; anything where absent. */
  readonly usages?: readonly ("sign" | "derive" | "decrypt" | "wrap")[];
  /** A usage that a key is not to have is left out of its template: its library refuses CKA_ENCRYPT=false and the like. */
  readonly omitsFalse: boolean;
  /**
   * Keys that were made or used stay loaded until the user logs out, and there may be room for two: the user logs in anew
   * before each use and write. A key that is destroyed while it is loaded keeps its room until the module is closed.
   */
  readonly freshLogin: boolean;
  /** How it wants Edwards and Montgomery curves in CKA_EC_PARAMS: by object identifier, or by name (PKCS#11 3.0 6.3.5). */
  readonly curveParams: "oid" | "name";
  /** Whether its SO sees and makes private keys; whoever has no SO does not. Not known where absent. */
  readonly soMakesKeys?: boolean;
  /** How a new token comes to be: C_InitToken in a slot with an uninitialised token, or only the user PIN is set. */
  readonly initialise: "token" | "pin" | "no";
  /** The variables that say which tokens its library sees; any that is declared may, where absent. */
  readonly located?: readonly string[];
  /** Where its library usually is on Debian. */
  readonly paths: readonly string[];
  /** Shown with an error of this return value. */
  readonly explain?: Readonly<Record<string, string>>;
}

const GENERIC: Family = {
  name: "generic",
  title: "a PKCS#11 token",
  placement: "thread",
  neverLocks: false,
  showsFailures: false,
  labels: true,
  renames: true,
  omitsFalse: false,
  freshLogin: false,
  curveParams: "oid",
  initialise: "token",
  paths: [],
};

/** A TPM counts failures once, for everything in it that dictionary attacks are kept from. */
const TPM_TRIES = "all tokens of one TPM share its lock-out counter: a wrong PIN for one of them counts against all";

export const FAMILIES: readonly Family[] = [
  {
    ...GENERIC,
    name: "softtoken",
    title: "the built-in token",
    manufacturer: /^Keywright$/,
    model: /^softtoken$/,
    placement: "direct",
    showsFailures: true,
    soMakesKeys: false,
  },
  {
    ...GENERIC,
    name: "softhsm",
    title: "SoftHSM2",
    library: /^libsofthsm2\.so$/,
    manufacturer: /^SoftHSM project$/,
    placement: "direct",
    // It sets CKF_USER_PIN_COUNT_LOW after a failure and never counts on.
    neverLocks: true,
    showsFailures: true,
    curveParams: "name",
    soMakesKeys: false,
    located: ["SOFTHSM2_CONF"],
    paths: ["/usr/lib/softhsm/libsofthsm2.so"],
  },
  {
    ...GENERIC,
    name: "tpm2",
    title: "tpm2-pkcs11",
    library: /^libtpm2_pkcs11\.so/,
    model: /TPM|SW/i,
    manufacturer: /^(?:IBM|Infineon|STMicro|Nuvoton|Intel|AMD|Microsoft|swtpm).*/i,
    placement: "thread",
    curves: ["secp256r1", "secp384r1"],
    usages: ["sign", "decrypt"],
    omitsFalse: true,
    freshLogin: true,
    located: ["TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI"],
    sharedTries: TPM_TRIES,
    explain: {
      CKR_PIN_INCORRECT: TPM_TRIES,
      CKR_PIN_LOCKED: `${TPM_TRIES}; the lock ends with time, or by the TPM's owner: tpm2_dictionarylockout --clear-lockout`,
      CKR_GENERAL_ERROR:
        "a process that died without closing the module may have left sessions or keys in the TPM; a restart frees them, or: tpm2_flushcontext -t -l -s",
    },
    paths: [
      "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
      "/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    ],
  },
  {
    ...GENERIC,
    name: "nss",
    title: "NSS softokn",
    library: /^libsoftokn3\.so$/,
    manufacturer: /^Mozilla Foundation$/,
    placement: "direct",
    neverLocks: true,
    curves: ["secp256r1", "secp384r1", "secp521r1"],
    initialise: "pin",
    soMakesKeys: false,
    located: [],
    paths: ["/usr/lib/x86_64-linux-gnu/libsoftokn3.so", "/usr/lib/aarch64-linux-gnu/libsoftokn3.so"],
  },
  {
    ...GENERIC,
    name: "yubikey",
    title: "YubiKey PIV",
    library: /^libykcs11\.so/,
    manufacturer: /^Yubico/,
    model: /^YubiKey/,
    labels: false,
    renames: false,
    soMakesKeys: true,
    initialise: "no",
    paths: ["/usr/lib/x86_64-linux-gnu/libykcs11.so.2"],
  },
  {
    ...GENERIC,
    name: "smartcard-hsm",
    title: "SmartCard-HSM / Nitrokey HSM",
    manufacturer: /^(?:www\.CardContact\.de|CardContact)/,
    initialise: "no",
    paths: ["/usr/lib/x86_64-linux-gnu/pkcs11/opensc-pkcs11.so"],
  },
  {
    ...GENERIC,
    name: "yubihsm",
    title: "YubiHSM 2",
    library: /^yubihsm_pkcs11\.so/,
    manufacturer: /^Yubico/,
    model: /^YubiHSM/,
    renames: false,
    initialise: "no",
    paths: ["/usr/lib/x86_64-linux-gnu/pkcs11/yubihsm_pkcs11.so"],
  },
];

/** What to do where {@link Family.soMakesKeys} is false. */
export const WRITE_AS_USER =
  "leave writeAs out, so that the user writes: so is for tokens whose SO makes the keys, such as a YubiKey (PIV)";

/** The family of a name. */
export function familyNamed(name: FamilyName): Family {
  return FAMILIES.find((family) => family.name === name) ?? GENERIC;
}

/** The family that a library's file name tells, before it is opened. */
export function familyOfLibrary(path: string): Family {
  const file = path.slice(path.lastIndexOf("/") + 1);
  if (path === "softtoken") return FAMILIES[0]!;
  return FAMILIES.find((family) => family.library?.test(file) === true) ?? GENERIC;
}

/** The family of a token. @param path its module, which decides where the token says nothing of use */
export function familyOfToken(info: Structure<"tokenInfo">, path: string): Family {
  const byLibrary = familyOfLibrary(path);
  if (byLibrary.name !== "generic") return byLibrary;
  const matches = (family: Family) =>
    (family.manufacturer !== undefined || family.model !== undefined) &&
    (family.manufacturer?.test(info.manufacturerID) ?? true) &&
    (family.model?.test(info.model) ?? true);
  return FAMILIES.find(matches) ?? GENERIC;
}
