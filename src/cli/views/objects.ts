/**
 * How objects in a token are shown.
 * @module
 */
import type { Attributes } from "../../cryptoki/attributes.ts";
import type { TokenObject } from "../../cryptoki/session/objects.ts";
import { formatName } from "../../x509/names.ts";
import { curveFromParams } from "../../x509/public-keys.ts";
import { certificateIn } from "../../x509/read.ts";
import type { View } from "../io.ts";
import { firstDigits, table, visible } from "../words.ts";

/** One object, as lists show it. */
export interface ObjectValue {
  readonly class: string;
  readonly label: string;
  /** CKA_ID in hexadecimal. */
  readonly id: string;
  /** `EC secp384r1`, `RSA 3072`, a certificate's subject. */
  readonly about: string;
  /** What a key may do, a letter each: Sign Verify Encrypt Decrypt Wrap Unwrap deRive; X may be extracted. */
  readonly abilities: string;
  readonly uri: string;
  /** When a certificate ends, ISO 8601. */
  readonly notAfter?: string;
  /** SHA-256 in hexadecimal, where another object has its class, id and label: of its public key; a certificate's own. */
  readonly fingerprint?: string;
}

const ABILITIES = {
  CKA_SIGN: "S",
  CKA_VERIFY: "V",
  CKA_ENCRYPT: "E",
  CKA_DECRYPT: "D",
  CKA_WRAP: "W",
  CKA_UNWRAP: "U",
  CKA_DERIVE: "R",
  CKA_EXTRACTABLE: "X",
} as const;

export async function objectValue(object: TokenObject): Promise<ObjectValue> {
  const read = await object.get("CKA_CLASS", "CKA_LABEL", "CKA_ID");
  const value = {
    class: String(read.CKA_CLASS ?? "unknown")
      .replace("CKO_", "")
      .toLowerCase()
      .replaceAll("_", " "),
    label: read.CKA_LABEL ?? "",
    id: Buffer.from(read.CKA_ID ?? []).toString("hex"),
    uri: await object.uri(),
  };
  if (read.CKA_CLASS === "CKO_CERTIFICATE") {
    const { CKA_VALUE } = await object.get("CKA_VALUE");
    if (CKA_VALUE === undefined) return { ...value, about: "without value", abilities: "" };
    const facts = certificateIn(CKA_VALUE);
    if (facts === undefined) return { ...value, about: "cannot be read", abilities: "" };
    return { ...value, about: formatName(facts.subject), abilities: "", notAfter: facts.notAfter.toISOString() };
  }
  const isKey = ["CKO_PRIVATE_KEY", "CKO_PUBLIC_KEY", "CKO_SECRET_KEY"].includes(String(read.CKA_CLASS));
  if (!isKey) return { ...value, about: "", abilities: "" };
  const names = Object.keys(ABILITIES) as (keyof typeof ABILITIES)[];
  const flags = await object.get(...names);
  const abilities = names.map((name) => (flags[name] === true ? ABILITIES[name] : "")).join("");
  return { ...value, about: await keyAbout(object), abilities };
}

async function keyAbout(object: TokenObject): Promise<string> {
  const key = await object.get("CKA_KEY_TYPE", "CKA_MODULUS", "CKA_EC_PARAMS", "CKA_VALUE_LEN");
  const type = String(key.CKA_KEY_TYPE ?? "?").replace("CKK_", "");
  if (key.CKA_MODULUS !== undefined && key.CKA_MODULUS.length > 0) return `${type} ${key.CKA_MODULUS.length * 8}`;
  if (key.CKA_EC_PARAMS !== undefined && key.CKA_EC_PARAMS.length > 0)
    return curveFromParams(key.CKA_EC_PARAMS) ?? type;
  return key.CKA_VALUE_LEN === undefined ? type : `${type} ${Number(key.CKA_VALUE_LEN) * 8}`;
}

export const objectListView: View<{ readonly token: string; readonly objects: readonly ObjectValue[] }> = {
  schema: "keywright/key-list/1",
  human({ objects }, style) {
    if (objects.length === 0) return "no objects";
    const rows = objects.map((o) => [
      o.class,
      style.cell(visible(o.label)) || "-",
      o.id === "" ? "-" : style.cell(`0x${o.id}`),
      o.abilities || "-",
      style.cell(visible(o.about)),
      o.notAfter?.slice(0, 10) ?? "",
      o.fingerprint === undefined ? "" : firstDigits(o.fingerprint),
    ]);
    const telling = objects.some(({ fingerprint }) => fingerprint !== undefined) ? ["FINGERPRINT"] : [];
    const list = table([["CLASS", "LABEL", "ID", "MAY", "WHAT", "EXPIRES", ...telling], ...rows]);
    return `${list}\n\n${objects.map(({ uri }) => uri).join("\n")}`;
  },
};

/** An object with every attribute that it shows. */
export interface ObjectDetails {
  readonly uri: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export const objectDetailsView: View<{ readonly objects: readonly ObjectDetails[] }> = {
  schema: "keywright/key/1",
  human: ({ objects }, style) =>
    objects
      .map(
        ({ uri, attributes }) =>
          `${style.bold(uri)}\n${table(Object.entries(attributes).map(([name, text]) => [name, visible(text)]))}`,
      )
      .join("\n\n"),
};

/** Attribute values as text: bytes in hexadecimal, lists joined by commas. */
export function attributeTexts(attributes: Attributes): Record<string, string> {
  const text = (value: unknown): string => {
    if (value instanceof Uint8Array) return value.length === 0 ? "(empty)" : `0x${Buffer.from(value).toString("hex")}`;
    if (Array.isArray(value)) return value.map(text).join(", ");
    if (value === "") return "(empty)";
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, text(value)]));
}
