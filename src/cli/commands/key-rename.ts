/**
 * `keywright key rename`
 * @module
 */

import type { Session } from "../../cryptoki/session/session.ts";
import { command, EXIT, type ExitCode, type Input, text } from "../command.ts";
import { TakenError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { idOf, namedObjects } from "../objects.ts";
import { findTarget, OBJECT_OPTIONS, type Target, withSession } from "../target.ts";

export const spec = command({
  name: "key rename",
  summary: "give a key and what belongs to it another label or id; refuses one that is taken",
  words: { usage: "KEY", least: 1, most: 1 },
  options: {
    ...OBJECT_OPTIONS,
    label: text("LABEL", "the new CKA_LABEL"),
    id: text("ID", "the new CKA_ID: an integer, or 0x and bytes in hexadecimal"),
  },
  examples: ["keywright key rename 'pkcs11:token=demo;object=old' --label new"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const { label } = input;
  const id = input.id === undefined ? undefined : idOf(input.id);
  if (label === undefined && id === undefined) throw new UsageError("key rename needs --label or --id");
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { locked }) => {
    await locked(() => rename(session, target, { label, id }, io));
  });
  return EXIT.done;
}

async function rename(
  session: Session,
  target: Target,
  { label, id }: { label: string | undefined; id: string | undefined },
  io: Io,
): Promise<void> {
  const objects = await namedObjects(session, target);
  const handles = new Set(objects.map(({ handle }) => handle));
  const wanted = [
    ...(label === undefined ? [] : [{ CKA_LABEL: label }]),
    ...(id === undefined ? [] : [{ CKA_ID: Buffer.from(id, "hex") }]),
  ];
  for (const match of wanted) {
    const holders: string[] = [];
    for await (const object of session.find(match)) if (!handles.has(object.handle)) holders.push(await object.uri());
    if (holders.length > 0) throw new TakenError("the new label or id is taken", holders);
  }
  for (const object of objects) {
    for (const attributes of wanted) await object.set(attributes);
    io.tell(`renamed ${await object.uri()}`);
  }
}
