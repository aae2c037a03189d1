/**
 * `keywright key export`
 * @module
 */

import { spkiAt } from "../../lifecycle/apply/keys.ts";
import { publicKeyJwk, publicKeyPem, publicKeySsh } from "../../x509/public-keys.ts";
import { uriPem } from "../../x509/uri-pem.ts";
import { command, EXIT, type ExitCode, type Input, text } from "../command.ts";
import { UsageError } from "../errors.ts";
import { OUT_OPTION, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { namedObject } from "../objects.ts";
import { findTarget, TARGET_OPTIONS, withSession } from "../target.ts";

export const spec = command({
  name: "key export",
  summary: "export the public key: PEM, DER, JWK, SSH, or the key's URI as PEM",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...TARGET_OPTIONS, format: text("FORM", "pem (default), der, jwk, ssh or uri-pem"), ...OUT_OPTION },
  notes: ["Private keys do not leave the token."],
  examples: ["keywright key export www", "keywright key export deploy --format ssh >> authorized_keys"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  const form = input.format ?? "pem";
  await withSession(target, input, io, {}, async (session) => {
    const key = await namedObject(session, target, "private");
    const { CKA_ID, CKA_LABEL } = await key.get("CKA_ID", "CKA_LABEL");
    const identity = { id: Buffer.from(CKA_ID ?? []).toString("hex"), label: CKA_LABEL ?? "" };
    const spki = () => spkiAt(session, identity);
    switch (form) {
      case "pem":
        return writeOut(publicKeyPem(await spki()), input, io);
      case "der":
        return writeOut(await spki(), input, io);
      case "jwk":
        return writeOut(
          `${JSON.stringify({ ...publicKeyJwk(await spki()), kid: identity.label }, undefined, 2)}\n`,
          input,
          io,
        );
      case "ssh":
        return writeOut(`${publicKeySsh(await spki(), identity.label)}\n`, input, io);
      case "uri-pem":
        return writeOut(uriPem(await key.uri()), input, io);
      default:
        throw new UsageError(`${JSON.stringify(form)} is not a form of a public key`, [
          "forms: pem, der, jwk, ssh, uri-pem",
        ]);
    }
  });
  return EXIT.done;
}
