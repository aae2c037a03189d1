/**
 * A key's second certificate: two under one id and label are hard to tell apart, for people and for programs.
 * @module
 */
import type { Session } from "../cryptoki/session/session.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { isOutside } from "../lifecycle/plan/outside.ts";
import { certificateIn, fingerprint, readCertificate } from "../x509/read.ts";
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
    const facts = CKA_VALUE === undefined ? undefined : certificateIn(CKA_VALUE);
    const isOfKey = facts !== undefined && fingerprint(facts.spki) === wanted;
    if (!isOfKey || (CKA_LABEL ?? "") !== identity.label || (key !== undefined && isOutside(key))) {
      io.warn(`the key has another certificate too: ${await other.uri()}`);
      continue;
    }
    const uri = await other.uri();
    throw new CommandError(`the key has a certificate under this id and label already: ${uri}`, [
      ...(key?.certificate === undefined ? [] : ["keywright apply makes and renews the certificates of declared keys"]),
      `to replace it, delete it first: keywright key delete '${uri}' --fingerprint ${firstDigits(fingerprint(facts.der))}`,
    ]);
  }
}
