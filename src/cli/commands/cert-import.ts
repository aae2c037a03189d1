/**
 * `keywright cert import`
 * @module
 */

import { certificateTemplate } from "../../lifecycle/templates.ts";
import { fingerprint, readCertificates } from "../../x509/read.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { CommandError } from "../errors.ts";
import { IN_OPTION, readIn } from "../files.ts";
import type { Io } from "../io.ts";
import { namedKey } from "../named-key.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";
import { objectListView, objectValue } from "../views/objects.ts";

export const spec = command({
  name: "cert import",
  summary: "put a certificate beside its key; refuses one that belongs to another key",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, ...IN_OPTION },
  examples: ["keywright cert import www --in www.crt"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const [certificate] = readCertificates(await readIn(input.in));
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { family, locked }) => {
    const { identity, spki } = await namedKey(session, target);
    if (fingerprint(certificate!.spki) !== fingerprint(spki)) {
      throw new CommandError(`the certificate does not match the key ${identity.label}`, [
        "it was made for another key",
      ]);
    }
    for await (const other of session.find({ CKA_CLASS: "CKO_CERTIFICATE", CKA_ID: Buffer.from(identity.id, "hex") })) {
      const { CKA_VALUE } = await other.get("CKA_VALUE");
      if (CKA_VALUE !== undefined && fingerprint(CKA_VALUE) === fingerprint(certificate!.der)) {
        throw new CommandError("the certificate is in the token already");
      }
      io.warn(`the key has another certificate too: ${await other.uri()}`);
    }
    const object = await locked(() => session.create(certificateTemplate(certificate!, identity, family)));
    io.show(objectListView, { token: session.token.uri, objects: [await objectValue(object)] });
  });
  return EXIT.done;
}
