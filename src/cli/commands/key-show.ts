/**
 * `keywright key show`
 * @module
 */
import { type AttributeName, CKA } from "../../spec/attributes.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { namedObjects } from "../objects.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";
import { attributeTexts, type ObjectDetails, objectDetailsView } from "../views/objects.ts";

export const spec = command({
  name: "key show",
  summary: "show every attribute of a key and what belongs to it",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, json: flag("print JSON (schema keywright/key/1)") },
  notes: ["Attributes that are secret, or that an object of its kind does not have, are left out."],
  examples: ["keywright key show www", "keywright key show 'pkcs11:token=demo;id=%01;type=private'"],
});

/** What may be secret in a key that is neither sensitive nor unextractable; never printed. */
const SECRET = new Set<AttributeName>([
  "CKA_PRIVATE_EXPONENT",
  "CKA_PRIME_1",
  "CKA_PRIME_2",
  "CKA_EXPONENT_1",
  "CKA_EXPONENT_2",
  "CKA_COEFFICIENT",
  "CKA_SEED",
]);

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, {}, async (session) => {
    const objects: ObjectDetails[] = [];
    for (const object of await namedObjects(session, target)) {
      const { CKA_CLASS } = await object.get("CKA_CLASS");
      const isSecret = CKA_CLASS === "CKO_PRIVATE_KEY" || CKA_CLASS === "CKO_SECRET_KEY";
      const names = (Object.keys(CKA) as AttributeName[]).filter(
        (name) => !SECRET.has(name) && !(isSecret && name === "CKA_VALUE"),
      );
      objects.push({ uri: await object.uri(), attributes: attributeTexts(await object.get(...names)) });
    }
    io.show(objectDetailsView, { objects });
  });
  return EXIT.done;
}
