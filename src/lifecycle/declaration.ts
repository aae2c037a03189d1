/**
 * Reading a declaration: keys.yaml, or the same in JSON.
 * @module
 */
import { KeywrightError } from "../cryptoki/errors.ts";
import type { PinSource } from "../pins/sources.ts";
import { describeFaults, readDocument } from "../schema/document.ts";
import type { Fault } from "../schema/fields.ts";
import { checkDeclaration, checkExtensionSyntax } from "./check.ts";
import { DECLARATION, type DeclarationFields, type KeyFields, type TokenFields } from "./fields.ts";
import { type Duration, type KeyType, keyTypeText } from "./values.ts";

/** A declared token. Paths are as declared: relative ones start at the declaration's folder. */
export interface TokenDeclaration extends Omit<TokenFields, "pin" | "soPin"> {
  readonly name: string;
  readonly pin?: PinSource;
  readonly soPin?: PinSource;
  readonly writeAs: "user" | "so";
}

export type Usage = "sign" | "derive" | "decrypt" | "wrap";
export type PublishWhat = "certificate" | "chain" | "fullchain" | "uri-pem";

export interface Publication {
  readonly path: string;
  readonly what: PublishWhat;
  readonly mode: number;
  readonly owner?: string;
}

export interface CertificateDeclaration {
  /** Absent only where an outside CA's certificate is imported and no request is made. */
  readonly subject?: string;
  readonly issuer?: string;
  readonly validity: Duration;
  readonly renewBefore?: Duration;
  readonly renewKey: boolean;
  readonly digest?: string;
  readonly pss: boolean;
  readonly serial?: string;
  readonly extensions: readonly string[];
  readonly csr?: string;
  readonly import?: string;
  readonly publish: readonly Publication[];
  readonly hook?: string;
}

/** A declared key, with every default filled in. */
export interface KeyDeclaration {
  readonly name: string;
  readonly token: string;
  /** CKA_ID in lower-case hexadecimal. */
  readonly id: string;
  readonly label: string;
  readonly type: KeyType;
  readonly usage: readonly Usage[];
  readonly attributes: KeyFields["attributes"];
  readonly validStarting?: string;
  readonly softFail: boolean;
  readonly retireOld: "keep" | "destroy";
  readonly certificate?: CertificateDeclaration;
}

/** A declaration that holds together. */
export interface Declaration {
  /** The file that it was read from. */
  readonly file: string;
  readonly tokens: Readonly<Record<string, TokenDeclaration>>;
  readonly keys: Readonly<Record<string, KeyDeclaration>>;
}

/** A declaration with faults, all of them. */
export class DeclarationError extends KeywrightError {
  override readonly code = "ERR_DECLARATION";
  readonly faults: readonly Fault[];

  constructor(file: string, faults: readonly Fault[]) {
    const { message, hints } = describeFaults(file, faults);
    super(message, { hints });
    this.faults = faults;
  }
}

/**
 * Reads and checks a declaration.
 * @param text YAML 1.2, or JSON, which is YAML too
 * @param file its path, for messages
 * @throws DeclarationError with every fault, each with line and path
 */
export async function readDeclaration(text: string, file: string): Promise<Declaration> {
  const read = readDocument(text, { file, what: "a declaration" }, DECLARATION);
  if ("faults" in read) throw new DeclarationError(file, read.faults);
  const declaration = complete(file, read.value);
  const faults: Fault[] = [];
  const report = (path: readonly string[], message: string, hint?: string) =>
    void faults.push(read.faultAt(path, message, hint));
  checkDeclaration(declaration, report);
  checkExtensionSyntax(declaration, report);
  if (faults.length > 0) throw new DeclarationError(file, faults);
  return declaration;
}

function complete(file: string, fields: DeclarationFields): Declaration {
  const tokens = Object.entries(fields.tokens).map(([name, token]) => [
    name,
    { ...token, name, writeAs: token.writeAs ?? "user" } as TokenDeclaration,
  ]);
  const keys = Object.entries(fields.keys).map(([name, key]) => [name, completeKey(name, key)]);
  return { file, tokens: Object.fromEntries(tokens), keys: Object.fromEntries(keys) };
}

function completeKey(name: string, key: KeyFields): KeyDeclaration {
  const { certificate, ...rest } = key;
  return {
    ...rest,
    name,
    label: key.label ?? name,
    usage: key.usage ?? [key.type.algorithm === "Montgomery" ? "derive" : "sign"],
    attributes: key.attributes,
    softFail: key.softFail ?? false,
    retireOld: key.retireOld ?? "keep",
    ...(certificate === undefined || certificate === "none"
      ? {}
      : {
          certificate: {
            ...certificate,
            validity: certificate.validity ?? { amount: 365, unit: "d" },
            renewKey: certificate.renewKey ?? false,
            pss: certificate.pss ?? false,
            extensions: certificate.extensions ?? [],
            publish: (certificate.publish ?? []).map((one) => ({
              ...one,
              what: one.what ?? "certificate",
              mode: one.mode ?? 0o644,
            })),
          },
        }),
  };
}

/** JSON Schema (draft 2020-12) of a declaration. */
export function declarationSchema(): object {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Keywright declaration",
    ...DECLARATION.schema,
  };
}

/** A key's type as the declaration writes it. */
export function typeOf(key: KeyDeclaration): string {
  return keyTypeText(key.type);
}
