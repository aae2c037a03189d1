/**
 * Reading a declaration: keys.yaml, or the same in JSON.
 * @module
 */
import { isMap, LineCounter, type Node } from "yaml";
import { KeywrightError } from "../cryptoki/errors.ts";
import type { PinSource } from "../pins/sources.ts";
import { checkDeclaration, checkExtensionSyntax } from "./check.ts";
import { DECLARATION, type DeclarationFields, type KeyFields, type TokenFields } from "./schema/declaration.ts";
import { Cursor, type Fault, type Source } from "./schema/fields.ts";
import { parseText } from "./schema/yaml.ts";
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
    const lines = faults.map((fault) => formatFault(fault));
    const first = lines[0]!;
    super(faults.length === 1 ? first.text : `${file} has ${faults.length} faults`, {
      hints: faults.length === 1 ? first.hints : told(lines),
    });
    this.faults = faults;
  }
}

/** More lines are not read: they stand above the error by then. */
const MOST_LINES = 20;

function told(faults: readonly { text: string; hints: string[] }[]): string[] {
  const lines: string[] = [];
  for (const [i, { text, hints }] of faults.entries()) {
    if (lines.length >= MOST_LINES) return [...lines, `and ${faults.length - i} more`];
    lines.push(text, ...hints.map((hint) => `  ${hint}`));
  }
  return lines;
}

function formatFault({ file, line, column, path, message, hint }: Fault): { text: string; hints: string[] } {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  return { text: `${place}: ${path === "" ? "" : `${path}: `}${message}`, hints: hint === undefined ? [] : [hint] };
}

/** A larger file is not a declaration. In bytes. */
export const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Reads and checks a declaration.
 * @param text YAML 1.2, or JSON, which is YAML too
 * @param file its path, for messages
 * @throws DeclarationError with every fault, each with line and path
 */
export async function readDeclaration(text: string, file: string): Promise<Declaration> {
  const place = { file, line: 0, column: 0, path: "" };
  if (Buffer.byteLength(text) > MOST_BYTES) {
    throw new DeclarationError(file, [{ ...place, message: `it has more than ${MOST_BYTES} bytes` }]);
  }
  const lines = new LineCounter();
  const parsed = parseText(text, lines);
  if ("faults" in parsed) {
    const faults = parsed.faults.map(({ offset, message }) => {
      const { line, col } = lines.linePos(offset);
      return { file, line, column: col, path: "", message };
    });
    throw new DeclarationError(file, faults);
  }
  const { document } = parsed;
  const source: Source = { file, document, lines, faults: [], visited: 0 };
  const fields = readFields(source, place);
  if (fields === undefined || source.faults.length > 0) throw new DeclarationError(file, source.faults);
  const declaration = complete(file, fields);
  const report = (path: readonly string[], message: string, hint?: string) =>
    cursorAt(source, path).fail(message, hint);
  checkDeclaration(declaration, report);
  checkExtensionSyntax(declaration, report);
  if (source.faults.length > 0) throw new DeclarationError(file, source.faults);
  return declaration;
}

function readFields(source: Source, place: Fault | Omit<Fault, "message">): DeclarationFields | undefined {
  try {
    return DECLARATION.read(new Cursor(source, source.document.contents, ""));
  } catch (error) {
    if (error instanceof RangeError) throw new DeclarationError(source.file, [{ ...place, message: error.message }]);
    throw error;
  }
}

/** The place of a path in the document, or of the nearest part that is there. */
function cursorAt(source: Source, path: readonly string[]): Cursor {
  let node: unknown = source.document.contents;
  let at: unknown = node;
  for (const name of path) {
    const next: unknown = isMap(node)
      ? node.items.find((pair) => String(pair.key) === name)?.value
      : (node as { items?: unknown[] } | null)?.items?.[Number(name)];
    if (next === undefined || next === null) break;
    node = next;
    at = next;
  }
  return new Cursor(source, at as Node, path.join("."));
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
