/**
 * `keywright key list`
 * @module
 */
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { findTarget, TARGET_OPTIONS, withSession } from "../target.ts";
import { type ObjectValue, objectListView, objectValue } from "../views/objects.ts";

export const spec = command({
  name: "key list",
  summary: "list the keys and certificates of a token",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: {
    ...TARGET_OPTIONS,
    public: flag("without login: public objects only"),
    json: flag("print JSON (schema keywright/key-list/1)"),
  },
  notes: [
    "MAY: Sign, Verify, Encrypt, Decrypt, Wrap, Unwrap, deRive; X: the key may be extracted.",
    "TOKEN is a declared name or a PKCS#11 URI; without it, the module's only token.",
  ],
  examples: [
    "keywright key list demo",
    "keywright key list 'pkcs11:token=prod' -m /usr/lib/softhsm/libsofthsm2.so --public",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { login: !input.public }, async (session) => {
    const objects: ObjectValue[] = [];
    for await (const object of session.find()) objects.push(await objectValue(object));
    const order = ({ id, label, class: kind }: ObjectValue) => `${id}\n${label}\n${kind}`;
    objects.sort((a, b) => (order(a) < order(b) ? -1 : 1));
    io.show(objectListView, { token: session.token.uri, objects });
  });
  return EXIT.done;
}
