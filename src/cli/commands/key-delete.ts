/**
 * `keywright key delete`
 * @module
 */
import { destroyIfThere } from "../../cryptoki/session/objects.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { confirmDestruction, YES_OPTION } from "../confirm.ts";
import type { Io } from "../io.ts";
import { describeObjects, namedObjects, refuseEntangled } from "../objects.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";
import { count } from "../words.ts";

export const spec = command({
  name: "key delete",
  summary: "delete a key and what belongs to it, after showing what that is",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, ...YES_OPTION },
  notes: [
    "KEY is a declared name or a PKCS#11 URI; every object that matches is deleted, so add type=cert to delete a",
    "certificate alone. Where several keys have one id and label, nothing is deleted without --fingerprint.",
  ],
  examples: [
    "keywright key delete 'pkcs11:token=demo;object=old-key'",
    "keywright key delete 'pkcs11:token=demo;id=%07;type=cert' --yes",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { locked }) => {
    const objects = await namedObjects(session, target);
    await refuseEntangled(session, target, objects);
    const lines = await describeObjects(session, objects);
    await confirmDestruction(`${count(objects.length, "object")} will be destroyed`, lines, input, io);
    await locked(async () => {
      for (const object of objects) await destroyIfThere(object);
    });
    io.tell(`deleted ${count(objects.length, "object")}`);
  });
  return EXIT.done;
}
