/**
 * `keywright cert import`
 * @module
 */

import type { Session } from "../../cryptoki/session/session.ts";
import { spkiAt } from "../../lifecycle/apply/keys.ts";
import { type Identity, newIdentity } from "../../lifecycle/identities.ts";
import { certificateTemplate } from "../../lifecycle/templates.ts";
import { fingerprint, readCertificates } from "../../x509/read.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { CommandError } from "../errors.ts";
import { fromFile, IN_OPTION, readIn } from "../files.ts";
import type { Io } from "../io.ts";
import { namedKey } from "../named-key.ts";
import { refuseSecond } from "../second-certificate.ts";
import { findTarget, OBJECT_OPTIONS, type Target, withSession } from "../target.ts";
import { objectListView, objectValue } from "../views/objects.ts";

export const spec = command({
  name: "cert import",
  summary: "put a certificate beside its key; refuses one that belongs to another key",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, ...IN_OPTION },
  notes: [
    "A certificate of the replacement that `apply` has prepared for a declared key is put beside that.",
    "A key that has a certificate gets no second one, unless it is declared with an outside CA.",
  ],
  examples: ["keywright cert import www --in www.crt"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const contents = await readIn(input.in);
  const [certificate] = fromFile(input.in, () => readCertificates(contents));
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { family, locked }) => {
    const identity = await identityFor(session, target, certificate!.spki);
    const object = await locked(async () => {
      await refuseSecond(session, target, identity, certificate!.der, io);
      return session.create(certificateTemplate(certificate!, identity, family));
    });
    io.show(objectListView, { token: session.token.uri, objects: [await objectValue(object)] });
  });
  return EXIT.done;
}

/**
 * Where a certificate belongs: beside the named key, or beside the replacement of it that waits for its certificate.
 * @throws CommandError when it is of neither
 */
async function identityFor(session: Session, target: Target, certified: Uint8Array): Promise<Identity> {
  const { identity, spki } = await namedKey(session, target);
  if (fingerprint(certified) === fingerprint(spki)) return identity;
  if (target.key !== undefined) {
    const waiting = newIdentity(target.key);
    for await (const _key of session.find({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_ID: Buffer.from(waiting.id, "hex") })) {
      if (fingerprint(certified) === fingerprint(await spkiAt(session, waiting))) return waiting;
    }
  }
  throw new CommandError(`the certificate does not match the key ${identity.label}`, ["it was made for another key"]);
}
