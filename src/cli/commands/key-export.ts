/**
 * `keywright key export`
 * @module
 */
import { publicKeyJwk, publicKeyPem, publicKeySsh } from "../../x509/public-keys.ts";
import { uriPem } from "../../x509/uri-pem.ts";
import { command, EXIT, type ExitCode, type Input, offering, text } from "../command.ts";
import { UsageError } from "../errors.ts";
import { OUT_OPTION, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { type PublicPart, publicPart } from "../public-part.ts";
import { findTarget, OBJECT_OPTIONS } from "../target.ts";
import { visible, visibleLines } from "../words.ts";

const FORMS: Readonly<Record<string, (part: PublicPart) => string | Uint8Array>> = {
  pem: ({ spki }) => publicKeyPem(spki),
  der: ({ spki }) => spki,
  jwk: ({ spki, identity }) =>
    visibleLines(`${JSON.stringify({ ...publicKeyJwk(spki), kid: identity.label }, undefined, 2)}\n`),
  // A label is whatever somebody wrote: a line end in it would begin a line of authorized_keys.
  ssh: ({ spki, identity }) => `${publicKeySsh(spki, visible(identity.label))}\n`,
  "uri-pem": ({ uri }) => uriPem(uri),
};

export const spec = command({
  name: "key export",
  summary: "export the public key: PEM, DER, JWK, SSH, or the key's URI as PEM",
  words: { usage: "KEY", least: 1, most: 1 },
  options: {
    ...OBJECT_OPTIONS,
    format: offering(Object.keys(FORMS), text("FORM", "pem (default), der, jwk, ssh or uri-pem")),
    ...OUT_OPTION,
  },
  notes: ["Private keys do not leave the token. A PIN is asked for only where the token hides the public key too."],
  examples: ["keywright key export www", "keywright key export deploy --format ssh >> authorized_keys"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const form = input.format ?? "pem";
  const write = Object.hasOwn(FORMS, form) ? FORMS[form] : undefined;
  if (write === undefined) {
    throw new UsageError(`${JSON.stringify(form)} is not a form of a public key`, [
      `forms: ${Object.keys(FORMS).join(", ")}`,
    ]);
  }
  const target = await findTarget(input.words[0], input, io);
  await writeOut(write(await publicPart(target, input, io)), input, io);
  return EXIT.done;
}
