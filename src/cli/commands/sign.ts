/**
 * `keywright sign`
 * @module
 */
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { IN_OPTION, OUT_OPTION, readIn, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { SIGNATURE_OPTIONS, signingKey } from "../signing.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";

export const spec = command({
  name: "sign",
  summary: "sign a file with a key",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, ...IN_OPTION, ...OUT_OPTION, ...SIGNATURE_OPTIONS },
  notes: ["The signature is as OpenSSL makes it: ECDSA in DER, RSA PKCS#1 v1.5 or PSS, Ed25519 and Ed448 raw."],
  examples: [
    "keywright sign release --in release.tar --out release.sig",
    "openssl dgst -sha256 -verify release.pub -signature release.sig release.tar",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const data = await readIn(input.in);
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, {}, async (session) => {
    const { signer } = await signingKey(session, target, input);
    await writeOut(await signer.sign(data), input, io);
  });
  return EXIT.done;
}
