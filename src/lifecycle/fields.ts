/**
 * The fields of a declaration. This is the one definition: reading, the JSON Schema and the docs follow it.
 * @module
 */
import { isMap, isScalar } from "yaml";
import { DIGESTS, digestByName } from "../cryptoki/mechanisms.ts";
import { parseUri } from "../cryptoki/uri.ts";
import {
  either,
  type Field,
  flag,
  integer,
  list,
  object,
  oneOf,
  optional,
  record,
  required,
  scalar,
  text,
} from "../schema/fields.ts";
import { parseId } from "../schema/ids.ts";
import { mechanismCode } from "../spec/mechanisms.ts";
import { parseName } from "../x509/names.ts";
import { type Duration, type KeyType, parseDate, parseDuration, parseKeyType, parseMode } from "./values.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_RULE = "made of letters, digits, dot, dash and underscore, at most 64";

const duration: Field<Duration> = text("a length of time", parseDuration, {
  pattern: "^[0-9]{1,6} *(y|mo|w|d|h|min)$",
});
const date = text("a date", parseDate, { format: "date" });
const id = scalar(
  {
    oneOf: [
      { type: "integer", minimum: 0 },
      { type: "string", pattern: "^0[xX]([0-9a-fA-F]{2})+$" },
    ],
  },
  parseId,
);
const type: Field<KeyType> = text("a key's type", parseKeyType);
const path = text("a path");

const pinKinds = {
  file: object("a PIN's source", {
    file: required(path, "A file with the PIN; one newline at its end is not part of it."),
    allowWorldReadable: optional(
      flag("allowWorldReadable"),
      "Take the file although everybody on this machine can read it.",
    ),
  }),
  env: object("a PIN's source", {
    env: required(text("a variable's name"), "An environment variable; it is removed after reading."),
  }),
  credential: object("a PIN's source", { credential: required(text("a credential's name"), "A systemd credential.") }),
  fd: object("a PIN's source", { fd: required(integer("a file descriptor", 0, 65535), "An open file descriptor.") }),
  command: object("a PIN's source", {
    command: required(list("a command", text("an argument")), "A program and its arguments; its output is the PIN."),
  }),
  prompt: object("a PIN's source", { prompt: required(flag("prompt"), "Ask at the terminal.") }),
};

const pin = either<PinFields>(
  () => ({ oneOf: Object.values(pinKinds).map((kind) => kind.schema) }),
  ({ node }) => {
    if (!isMap(node)) return undefined;
    const kind = (Object.keys(pinKinds) as (keyof typeof pinKinds)[]).find((name) => node.has(name));
    return kind === undefined ? undefined : (pinKinds[kind] as Field<PinFields>);
  },
  `a PIN comes from one of ${Object.keys(pinKinds).join(", ")}, written { file: user.pin }; never stands here itself`,
  true,
);

type ReadOf<F> = F extends Field<infer T> ? T : never;
export type PinFields = ReadOf<(typeof pinKinds)[keyof typeof pinKinds]>;

const token = object("a token", {
  module: required(text("a module"), "softtoken, or the path or file name of a PKCS#11 library."),
  label: optional(text("a label", checkLabel), "The token's label (CKA_LABEL of the token); a new token is given it."),
  serial: optional(text("a serial number"), "The token's serial number."),
  uri: optional(text("a URI", checkUri), "The token as a PKCS#11 URI (RFC 7512), instead of label and serial."),
  slot: optional(integer("a slot", 0, 0xffff_ffff), "The slot's number; numbers change when tokens come and go."),
  store: optional(path, "Where the token's objects live, for a built-in token, SoftHSM, TPM2 or NSS."),
  placement: optional(oneOf("a placement", "direct", "thread", "process"), "Where the library runs."),
  environment: optional(
    record("the environment", text("a value"), /^[A-Za-z_][A-Za-z0-9_]*$/, "a variable's name"),
    "Variables that the library reads when it is loaded.",
  ),
  reserved: optional(text("a string"), "The string for pReserved of C_Initialize (NSS)."),
  timeoutMs: optional(integer("a time in ms", 100, 3_600_000), "How long a call may take, with placement process."),
  pin: optional(pin, "Where the user PIN comes from."),
  soPin: optional(pin, "Where the SO PIN comes from; needed to initialise the token."),
  writeAs: optional(oneOf("writeAs", "user", "so"), "Who makes and deletes objects; user by default."),
  initHook: optional(path, "A program that is run once after the token was initialised."),
});

const publish = object("a publication", {
  path: required(path, "The file."),
  what: optional(
    oneOf("what", "certificate", "chain", "fullchain", "uri-pem"),
    "certificate (default), chain (its issuers), fullchain (both, without a root) or uri-pem (the key's URI as PEM).",
  ),
  mode: optional(text("a mode", parseMode, { pattern: "^0?[0-7]{3}$" }), 'The file\'s mode; "0644" by default.'),
  owner: optional(text("an owner"), "user or user:group, by name or number."),
});

const certificateFields = object("a certificate", {
  subject: optional(text("a name", checkName), "C=US/O=Example/CN=www, or RFC 4514's CN=www,O=Example,C=US."),
  issuer: optional(text("a key's name"), "The declared CA key that signs it; absent: it signs itself."),
  validity: optional(duration, "How long it is valid; 365d by default."),
  renewBefore: optional(duration, "How long before its end it is renewed; absent: never."),
  renewKey: optional(flag("renewKey"), "Renew with a new key (rotate); false by default: with the same key."),
  digest: optional(
    text("a digest", digestByName, { enum: Object.keys(DIGESTS) }),
    "The signature's digest; fits the key by default.",
  ),
  pss: optional(flag("pss"), "Sign with RSASSA-PSS, for an RSA key; false by default."),
  serial: optional(
    text("a serial number", checkSerial, { pattern: "^0[xX]([0-9a-fA-F]{2}){1,20}$" }),
    "Its serial number, 0x and hexadecimal; random by default.",
  ),
  extensions: optional(
    list("the extensions", text("an extension")),
    "In OpenSSL's syntax: keyUsage=critical,digitalSignature",
  ),
  csr: optional(path, "For an outside CA: the file that the request is written to."),
  import: optional(path, "For an outside CA: the file that its certificate is read from."),
  publish: optional(list("the publications", publish), "Files that are written when they differ."),
  hook: optional(path, "A program that is run after publishing, and before a key is replaced."),
});

const certificate = either<ReadOf<typeof certificateFields> | "none">(
  () => ({ oneOf: [{ const: "none" }, certificateFields.schema] }),
  ({ node }) => {
    if (isMap(node)) return certificateFields;
    return isScalar(node) && node.value === "none" ? oneOf("a certificate", "none") : undefined;
  },
  "a certificate is a mapping, or none",
);

const key = object("a key", {
  token: required(text("a token's name"), "The declared token that it lives in."),
  id: required(id, 'Its CKA_ID: an integer, or "0x" and bytes with leading zeroes kept.'),
  label: optional(text("a label"), "Its CKA_LABEL; its name by default."),
  type: required(type, "RSA:3072, EC:secp384r1, Ed25519, Ed448, X25519, X448."),
  usage: optional(
    list("the usage", oneOf("a usage", "sign", "derive", "decrypt", "wrap")),
    "What it may be used for; [sign] by default, [derive] for X25519 and X448.",
  ),
  attributes: optional(
    object("attributes", {
      extractable: optional(flag("extractable"), "May leave the token wrapped; false by default."),
      alwaysAuthenticate: optional(flag("alwaysAuthenticate"), "Wants the PIN at every use; false by default."),
      wrapWithTrusted: optional(flag("wrapWithTrusted"), "May be wrapped with trusted keys only; false by default."),
      modifiable: optional(flag("modifiable"), "Its attributes may change; true by default, and rotation needs it."),
      copyable: optional(flag("copyable"), "May be copied; the token's default unless given."),
      allowedMechanisms: optional(
        list("the mechanisms", text("a mechanism", checkMechanism)),
        "The only mechanisms that it may be used with, such as CKM_ECDSA.",
      ),
    }),
    "PKCS#11 attributes of the private key.",
  ),
  validStarting: optional(date, "A date, UTC: nothing is made before it; the URI can be used in other configuration."),
  softFail: optional(flag("softFail"), "An absent token is not a failure for this key; false by default."),
  retireOld: optional(oneOf("retireOld", "keep", "destroy"), "What becomes of a replaced key: archived, or destroyed."),
  certificate: optional(certificate, "Its certificate; none by default."),
});

/** The whole declaration. */
export const DECLARATION = object("the declaration", {
  tokens: required(record("tokens", token, NAME, NAME_RULE), "Tokens by name."),
  keys: required(record("keys", key, NAME, NAME_RULE), "Keys by name."),
});

export type DeclarationFields = ReadOf<typeof DECLARATION>;
export type TokenFields = ReadOf<typeof token>;
export type KeyFields = ReadOf<typeof key>;

function checkLabel(value: string): string {
  const bytes = Buffer.byteLength(value);
  if (bytes === 0 || bytes > 32)
    throw new Error(`a token's label has 1 to 32 bytes, ${JSON.stringify(value)} has ${bytes}`);
  // The standard pads labels with blanks (CK_TOKEN_INFO), so that this one would never be found.
  if (value.endsWith(" "))
    throw new Error(`a token's label does not end with a blank, as ${JSON.stringify(value)} does`);
  return value;
}

function checkUri(value: string): string {
  parseUri(value);
  return value;
}

function checkName(value: string): string {
  parseName(value);
  return value;
}

function checkSerial(value: string): string {
  if (!/^0x(?:[0-9a-f]{2}){1,20}$/i.test(value))
    throw new Error(`a serial number is 0x and 1 to 20 bytes in hexadecimal, not ${value}`);
  return value.toLowerCase();
}

function checkMechanism(value: string): string {
  if (mechanismCode(value) === undefined) throw new Error(`there is no mechanism ${JSON.stringify(value)}`);
  return value.startsWith("CKM_") ? value : `CKM_${value}`;
}
