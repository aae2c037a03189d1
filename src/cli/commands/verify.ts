/**
 * `keywright verify`
 * @module
 */
import { fittingDigest, verifies } from "../../x509/signers.ts";
import { command, EXIT, type ExitCode, type Input, text } from "../command.ts";
import { UsageError } from "../errors.ts";
import { IN_OPTION, readIn } from "../files.ts";
import type { Io } from "../io.ts";
import { publicPart } from "../public-part.ts";
import { digestOf, requireFitting, SIGNATURE_OPTIONS } from "../signing.ts";
import { findTarget, OBJECT_OPTIONS } from "../target.ts";

export const spec = command({
  name: "verify",
  summary: "verify a file's signature with a key's public part; exit code 1 when it is wrong",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, ...IN_OPTION, signature: text("FILE", "the signature"), ...SIGNATURE_OPTIONS },
  notes: [
    "--pss takes a salt of any length: OpenSSL makes the longest unless it is told -sigopt rsa_pss_saltlen:digest.",
  ],
  examples: ["keywright verify release --in release.tar --signature release.sig"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  if (input.signature === undefined) throw new UsageError("verify needs --signature FILE");
  const signature = await readIn(input.signature);
  const data = await readIn(input.in);
  const target = await findTarget(input.words[0], input, io);
  const digest = digestOf(input);
  const { spki } = await publicPart(target, input, io);
  requireFitting(spki, input);
  const form = { digest: digest ?? fittingDigest(spki), pss: input.pss, anySalt: true };
  const holds = verifies(form, spki, data, signature);
  io.tell(holds ? "the signature is right" : "keywright: error: the signature is wrong");
  return holds ? EXIT.done : EXIT.failed;
}
