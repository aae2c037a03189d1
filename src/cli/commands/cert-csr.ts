/**
 * `keywright cert csr`
 * @module
 */
import { makeRequest, requestPem } from "../../x509/requests.ts";
import { extensionsOf, SUBJECT_OPTIONS, subjectOf } from "../certificates.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { OUT_OPTION, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { SIGNATURE_OPTIONS, signingKey } from "../signing.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";

export const spec = command({
  name: "cert csr",
  summary: "make a certificate signing request for a key",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, ...SUBJECT_OPTIONS, ...SIGNATURE_OPTIONS, ...OUT_OPTION },
  examples: [
    "keywright cert csr www --subject CN=www.example.com --extension subjectAltName=DNS:www.example.com --out www.csr",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const subject = subjectOf(input);
  const extensions = extensionsOf(input);
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, {}, async (session) => {
    const { spki, signer } = await signingKey(session, target, input);
    await writeOut(requestPem(await makeRequest(subject, spki, extensions, signer)), input, io);
  });
  return EXIT.done;
}
