/**
 * `keywright cert show`
 * @module
 */
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { isUri } from "../../cryptoki/uri.ts";
import { formatName } from "../../x509/names.ts";
import { EXTENSION_NAMES, fingerprint, readCertificate, readCertificates, readExtensions } from "../../x509/read.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import { CommandError, UsageError } from "../errors.ts";
import { fromFile, readIn } from "../files.ts";
import type { Io, View } from "../io.ts";
import { namedObject } from "../objects.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";
import { table } from "../words.ts";

export const spec = command({
  name: "cert show",
  summary: "show a certificate, of a key or in a file",
  words: { usage: "KEY|FILE", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, json: flag("print JSON (schema keywright/certificate/1)") },
  examples: ["keywright cert show www", "keywright cert show www.crt"],
});

interface CertificateValue {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly key: string;
  readonly subjectAltName: string;
  readonly isCa: boolean;
  readonly extensions: readonly { readonly oid: string; readonly critical: boolean }[];
  readonly sha256: string;
}

const view: View<{ readonly certificates: readonly CertificateValue[] }> = {
  schema: "keywright/certificate/1",
  human: ({ certificates }) =>
    certificates
      .map((c) =>
        table([
          ["subject", c.subject],
          ["issuer", c.issuer],
          ["serial", c.serial],
          ["valid", `${c.notBefore.slice(0, 19)}Z to ${c.notAfter.slice(0, 19)}Z`],
          ["key", c.key],
          ["names", c.subjectAltName || "-"],
          ["CA", c.isCa ? "yes" : "no"],
          [
            "extensions",
            c.extensions
              .map(({ oid, critical }) => `${EXTENSION_NAMES[oid] ?? oid}${critical ? " (critical)" : ""}`)
              .join(", "),
          ],
          ["SHA-256", c.sha256],
        ]),
      )
      .join("\n\n"),
};

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const [word] = input.words as [string];
  if (!isUri(word) && existsSync(word)) {
    const contents = await readIn(word);
    const certificates = fromFile(word, () => readCertificates(contents).map(({ der }) => describe(der)));
    io.show(view, { certificates });
    return EXIT.done;
  }
  const target = await findTarget(word, input, io).catch((error: unknown) => {
    throw missing(word, error) ?? error;
  });
  await withSession(target, input, io, { login: target.pins.pin !== undefined }, async (session) => {
    const { CKA_VALUE } = await (await namedObject(session, target, "cert")).get("CKA_VALUE");
    io.show(view, { certificates: CKA_VALUE === undefined ? [] : [describe(CKA_VALUE)] });
  });
  return EXIT.done;
}

/** Where a file was meant, that it is not there comes first. */
function missing(word: string, error: unknown): UsageError | undefined {
  if (isUri(word) || !/[./]/.test(word) || !(error instanceof UsageError || error instanceof CommandError)) return;
  return new UsageError(`there is no file ${word}, and no declared name that it could be`, [error.message]);
}

function describe(der: Uint8Array): CertificateValue {
  const facts = readCertificate(der);
  const certificate = new X509Certificate(der);
  const { asymmetricKeyType: type = "unknown", asymmetricKeyDetails: details } = certificate.publicKey;
  return {
    subject: formatName(facts.subject),
    issuer: formatName(facts.issuer),
    serial: facts.serial,
    notBefore: facts.notBefore.toISOString(),
    notAfter: facts.notAfter.toISOString(),
    key: [type, details?.namedCurve ?? details?.modulusLength].filter((part) => part !== undefined).join(" "),
    subjectAltName: certificate.subjectAltName ?? "",
    isCa: certificate.ca,
    extensions: readExtensions(der).map(({ oid, critical }) => ({ oid, critical })),
    sha256: fingerprint(der),
  };
}
