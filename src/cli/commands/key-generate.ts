/**
 * `keywright key generate`
 * @module
 */
import { failedWith } from "../../cryptoki/errors.ts";
import type { KeyPair } from "../../cryptoki/session/keys.ts";
import type { Session } from "../../cryptoki/session/session.ts";
import type { Token } from "../../cryptoki/token.ts";
import type { Family } from "../../families/families.ts";
import { observeMechanisms } from "../../lifecycle/observe.ts";
import { checkCapability } from "../../lifecycle/plan/capability.ts";
import { Refusal } from "../../lifecycle/plan/refusal.ts";
import { type KeyPairWish, keyPairTemplates, minimalTemplates } from "../../lifecycle/templates.ts";
import { parseKeyType } from "../../lifecycle/values.ts";
import { unfitUsage } from "../../x509/key-usages.ts";
import { command, EXIT, type ExitCode, flag, type Input, offering, text } from "../command.ts";
import { CommandError, fromArgument, TakenError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { idOf, USAGE_OPTION, usageOf } from "../objects.ts";
import { findTarget, TARGET_OPTIONS, withSession } from "../target.ts";
import { objectListView, objectValue } from "../views/objects.ts";

const TYPES = ["RSA:3072", "EC:secp384r1", "Ed25519", "Ed448", "X25519", "X448"];

export const spec = command({
  name: "key generate",
  summary: "generate a key pair; refuses an id or label that is taken",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: {
    ...TARGET_OPTIONS,
    type: offering(TYPES, text("TYPE", TYPES.join(", "))),
    id: text("ID", "CKA_ID: an integer, or 0x and bytes in hexadecimal"),
    label: text("LABEL", "CKA_LABEL"),
    ...USAGE_OPTION,
    extractable: flag("the key may leave the token wrapped"),
    json: flag("print JSON (schema keywright/key-list/1)"),
  },
  examples: ["keywright key generate demo --type EC:secp256r1 --id 7 --label signing"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const wish = wishOf(input);
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { family, token, locked }) => {
    await refuseImpossible(token, wish, family);
    const { privateKey, publicKey } = await locked(async () => {
      await refuseTaken(session, wish);
      return generate(session, wish, family, io);
    });
    const objects = [await objectValue(privateKey), await objectValue(publicKey)];
    io.show(objectListView, { token: session.token.uri, objects });
  });
  return EXIT.done;
}

function wishOf(input: Input<typeof spec>): KeyPairWish {
  const { type: typeText, id: idText, label } = input;
  if (typeText === undefined || idText === undefined || label === undefined) {
    throw new UsageError("key generate needs --type, --id and --label", ["see: keywright key generate --help"]);
  }
  const type = fromArgument("--type", () => parseKeyType(typeText));
  const usage = usageOf(input.usage) ?? [type.algorithm === "Montgomery" ? ("derive" as const) : ("sign" as const)];
  const unfit = unfitUsage(type.algorithm, usage);
  if (unfit !== undefined) throw new UsageError(`--usage: ${unfit.message}`, [unfit.hint]);
  return { type, identity: { id: idOf(idText), label }, usage, attributes: { extractable: input.extractable } };
}

/** @throws UsageError saying what the token can make */
async function refuseImpossible(token: Token, wish: KeyPairWish, family: Family): Promise<void> {
  try {
    checkCapability(wish, { family: family.name, canGenerate: await observeMechanisms(token) });
  } catch (error) {
    if (error instanceof Refusal) throw new CommandError(error.message, error.hints);
    throw error;
  }
}

/** @throws TakenError naming what has the id or the label */
export async function refuseTaken(session: Session, { identity }: Pick<KeyPairWish, "identity">): Promise<void> {
  for (const match of [{ CKA_ID: Buffer.from(identity.id, "hex") }, { CKA_LABEL: identity.label }]) {
    const found: string[] = [];
    for await (const object of session.find(match)) found.push(await object.uri());
    if (found.length > 0) {
      const what = "CKA_ID" in match ? `id 0x${identity.id}` : `label ${JSON.stringify(identity.label)}`;
      throw new TakenError(`the ${what} is taken in ${session.token.uri}`, found);
    }
  }
}

/** With everything that was asked for; where the token finds that inconsistent, once more with what it cannot do without. */
async function generate(session: Session, wish: KeyPairWish, family: Family, io: Io): Promise<KeyPair> {
  const full = keyPairTemplates(wish, family);
  try {
    return await session.generateKeyPair(full.mechanism, full.publicKey, full.privateKey);
  } catch (error) {
    if (!failedWith(error, "CKR_TEMPLATE_INCONSISTENT")) throw error;
    const { templates, left } = minimalTemplates(full);
    io.warn(`the token refused the template; generating without ${left.join(", ")}`);
    return session.generateKeyPair(templates.mechanism, templates.publicKey, templates.privateKey);
  }
}
