/**
 * `keywright key import`
 * @module
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import type { Usage } from "../../lifecycle/declaration.ts";
import { importTemplates } from "../../lifecycle/import.ts";
import { parseId } from "../../lifecycle/values.ts";
import { command, EXIT, type ExitCode, flag, type Input, text, texts } from "../command.ts";
import { UsageError } from "../errors.ts";
import { IN_OPTION, readIn } from "../files.ts";
import type { Io } from "../io.ts";
import { pinSource } from "../pin-options.ts";
import { commandPin } from "../pins.ts";
import { findTarget, TARGET_OPTIONS, withSession } from "../target.ts";
import { objectListView, objectValue } from "../views/objects.ts";
import { refuseTaken } from "./key-generate.ts";

export const spec = command({
  name: "key import",
  summary: "import a private key from a PEM or DER file; refuses an id or label that is taken",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: {
    ...TARGET_OPTIONS,
    ...IN_OPTION,
    id: text("ID", "CKA_ID: an integer, or 0x and bytes in hexadecimal"),
    label: text("LABEL", "CKA_LABEL"),
    usage: texts("USE", "sign, derive, decrypt or wrap (default: sign; derive for X25519 and X448)"),
    passphrase: text("SOURCE", "where the passphrase of an encrypted file comes from, in the forms of --pin"),
    extractable: flag("the key may leave the token wrapped"),
    json: flag("print JSON (schema keywright/key-list/1)"),
  },
  notes: ["A key that was in a file may have been copied before: prefer to generate keys in the token."],
  examples: ["keywright key import demo --in old.pem --id 9 --label old"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const { id: idText, label } = input;
  if (idText === undefined || label === undefined) throw new UsageError("key import needs --id and --label");
  const identity = { id: parseId(/^\d+$/.test(idText) ? BigInt(idText) : idText, idText), label };
  const key = await readPrivateKey(input, io);
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { family, locked }) => {
    const usage = input.usage.length > 0 ? (input.usage as Usage[]) : undefined;
    const templates = importTemplates(key, { identity, usage, attributes: { extractable: input.extractable } }, family);
    const [privateKey, publicKey] = await locked(async () => {
      await refuseTaken(session, { identity });
      return [await session.create(templates.privateKey), await session.create(templates.publicKey)];
    });
    const objects = [await objectValue(privateKey), await objectValue(publicKey)];
    io.show(objectListView, { token: session.token.uri, objects });
  });
  return EXIT.done;
}

async function readPrivateKey(input: Input<typeof spec>, io: Io): Promise<KeyObject> {
  const contents = await readIn(input.in);
  const source = pinSource("--passphrase", input.passphrase);
  const passphrase =
    source === undefined ? undefined : await commandPin(source, "the key file's passphrase", process.cwd(), io);
  try {
    const format =
      contents[0] === 0x30 ? { format: "der" as const, type: "pkcs8" as const } : { format: "pem" as const };
    const open = (secret?: Buffer) =>
      createPrivateKey({ key: contents, ...format, ...(secret === undefined ? {} : { passphrase: secret }) });
    return passphrase === undefined ? open() : passphrase.use((bytes) => open(Buffer.from(bytes)));
  } catch (cause) {
    throw new UsageError(`${input.in ?? "standard input"} is not a private key that can be read`, [
      "it is PEM or PKCS#8 DER; an encrypted one needs --passphrase SOURCE",
      ...(cause instanceof Error ? [cause.message] : []),
    ]);
  } finally {
    contents.fill(0);
    passphrase?.wipe();
  }
}
