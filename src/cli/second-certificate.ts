/**
 * A key's second certificate: two under one id and label are hard to tell apart, for people and for programs.
 * @module
 */
import type { Session } from "../cryptoki/session/session.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { fingerprint, readCertificate } from "../x509/read.ts";
import { CommandError } from "./errors.ts";
import type { Io } from "./io.ts";
import type { Target } from "./target.ts";
import { firstDigits } from "./words.ts";

/**
 * Refuses to put a certificate beside one of the same key, id and label; except for a declared key of an outside CA, for
 * `apply` sees to its old one. Certificates of other keys under its id are told.
 * @param der the certificate that is to be put there
 * @throws CommandError saying what to do with the one that is there
 */
export async function refuseSecond(
  session: Session,
  { key }: Pick<Target, "key">,
  identity: Identity,
  der: Uint8Array,
  io: Io,
): Promise<void> {
  const wanted = fingerprint(readCertificate(der).spki);
  for await (const other of session.find({ CKA_CLASS: "CKO_CERTIFICATE", CKA_ID: Buffer.from(identity.id, "hex") })) {
    const { CKA_VALUE, CKA_LABEL } = await other.get("CKA_VALUE", "CKA_LABEL");
    if (CKA_VALUE !== undefined && fingerprint(CKA_VALUE) === fingerprint(der)) {
      throw new CommandError("the certificate is in the token already");
    }
    const isOfKey = CKA_VALUE !== undefined && fingerprint(readCertificate(CKA_VALUE).spki) === wanted;
    const declared = key?.certificate;
    const isOutside = declared !== undefined && (declared.csr !== undefined || declared.import !== undefined);
    if (!isOfKey || (CKA_LABEL ?? "") !== identity.label || isOutside) {
      io.warn(`the key has another certificate too: ${await other.uri()}`);
      continue;
    }
    const uri = await other.uri();
    throw new CommandError(`the key has a certificate under this id and label already: ${uri}`, [
      ...(declared === undefined ? [] : ["keywright apply makes and renews the certificates of declared keys"]),
      `to replace it, delete it first: keywright key delete '${uri}' --fingerprint ${firstDigits(fingerprint(CKA_VALUE))}`,
    ]);
  }
}
