/**
 * `keywright cert issue`
 * @module
 */
import { certificateAt } from "../../lifecycle/apply/keys.ts";
import { makeCertificate } from "../../x509/certificates.ts";
import { certificatePem, isCa, readCertificate } from "../../x509/read.ts";
import { readRequest } from "../../x509/requests.ts";
import {
  extensionsOf,
  SUBJECT_OPTIONS,
  serialOf,
  subjectOf,
  VALIDITY_OPTIONS,
  validityOf,
  withRequested,
} from "../certificates.ts";
import { command, EXIT, type ExitCode, flag, type Input, text } from "../command.ts";
import { CommandError } from "../errors.ts";
import { fromFile, OUT_OPTION, readIn, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { SIGNATURE_OPTIONS, signingKey } from "../signing.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";

export const spec = command({
  name: "cert issue",
  summary: "issue a certificate for a request, with a CA key in a token",
  words: { usage: "CA-KEY", least: 1, most: 1 },
  options: {
    ...OBJECT_OPTIONS,
    csr: text("FILE", "the request (default: standard input)"),
    ...SUBJECT_OPTIONS,
    copyExtensions: flag("take the extensions that the request asks for; without it, only those given here"),
    ...VALIDITY_OPTIONS,
    ...SIGNATURE_OPTIONS,
    ...OUT_OPTION,
  },
  notes: [
    "The request's own signature is checked. --subject replaces the name that it asks for, --extension an extension.",
    "A request that asks for what makes a CA (basicConstraints CA:TRUE, keyUsage keyCertSign or cRLSign) is refused with",
    "--copy-extensions, unless --extension says what the certificate is to have of that.",
  ],
  examples: [
    "keywright cert issue my-ca --csr www.csr --extension subjectAltName=DNS:www.example.com --validity 90d --out www.crt",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const contents = await readIn(input.csr);
  const request = fromFile(input.csr, () => readRequest(contents));
  const subject = input.subject === undefined ? request.subject : subjectOf(input);
  const dates = validityOf(input, new Date());
  const serial = serialOf(input);
  const given = extensionsOf(input);
  const extensions = input.copyExtensions ? withRequested(request.extensions, given) : given;
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, {}, async (session) => {
    const { identity, spki, signer } = await signingKey(session, target, input);
    const der = await certificateAt(session, identity, spki);
    if (der === undefined)
      throw new CommandError("the CA key has no certificate in the token", ["see: keywright cert import"]);
    if (!isCa(der)) throw new CommandError("the key's certificate is no CA's", ["it lacks basicConstraints CA:TRUE"]);
    const issuer = readCertificate(der);
    if (dates.notAfter > issuer.notAfter) {
      throw new CommandError(
        `the certificate would end after its issuer's, which ends on ${issuer.notAfter.toISOString().slice(0, 10)}`,
      );
    }
    const made = await makeCertificate({ subject, spki: request.spki, issuer, serial, ...dates, extensions }, signer);
    await writeOut(certificatePem(made), input, io);
  });
  return EXIT.done;
}
