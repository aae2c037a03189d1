/**
 * `keywright cert self-sign`
 * @module
 */
import { certificateTemplate } from "../../lifecycle/templates.ts";
import { makeCertificate } from "../../x509/certificates.ts";
import { certificatePem, readCertificate } from "../../x509/read.ts";
import { extensionsOf, SUBJECT_OPTIONS, serialOf, subjectOf, VALIDITY_OPTIONS, validityOf } from "../certificates.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import { OUT_OPTION, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { refuseSecond } from "../second-certificate.ts";
import { SIGNATURE_OPTIONS, signingKey } from "../signing.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";

export const spec = command({
  name: "cert self-sign",
  summary: "make a certificate that a key signs for itself",
  words: { usage: "KEY", least: 1, most: 1 },
  options: {
    ...OBJECT_OPTIONS,
    ...SUBJECT_OPTIONS,
    ...VALIDITY_OPTIONS,
    ...SIGNATURE_OPTIONS,
    import: flag("put it into the token, beside its key, too"),
    ...OUT_OPTION,
  },
  examples: ["keywright cert self-sign ca --subject CN=CA --validity 10y --extension v3_ca --import --out ca.crt"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const subject = subjectOf(input);
  const dates = validityOf(input, new Date());
  const serial = serialOf(input);
  const extensions = extensionsOf(input);
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: input.import }, async (session, { family, locked }) => {
    const { spki, signer, identity } = await signingKey(session, target, input);
    const der = await makeCertificate({ subject, spki, serial, ...dates, extensions }, signer);
    if (input.import) {
      await locked(async () => {
        await refuseSecond(session, target, identity, der, io);
        await session.create(certificateTemplate(readCertificate(der), identity, family));
      });
    }
    await writeOut(certificatePem(der), input, io);
  });
  return EXIT.done;
}
