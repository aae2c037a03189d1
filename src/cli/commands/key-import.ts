/**
 * `keywright key import`
 * @module
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { importKeyPair } from "../../lifecycle/import.ts";
import { command, EXIT, type ExitCode, flag, type Input, text } from "../command.ts";
import { CommandError, UsageError } from "../errors.ts";
import { IN_OPTION, readIn } from "../files.ts";
import type { Io } from "../io.ts";
import { idOf, USAGE_OPTION, usageOf } from "../objects.ts";
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
    ...USAGE_OPTION,
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
  const identity = { id: idOf(idText), label };
  const usage = usageOf(input.usage);
  const key = await readPrivateKey(input, io);
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { write: true }, async (session, { family, locked }) => {
    const wish = { identity, usage, attributes: { extractable: input.extractable } };
    const { privateKey, publicKey } = await locked(async () => {
      await refuseTaken(session, { identity });
      return importKeyPair(session, key, wish, family);
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
    const open = (secret?: Buffer) => openKey(contents, secret === undefined ? {} : { passphrase: secret });
    return passphrase === undefined ? open() : passphrase.use((bytes) => open(Buffer.from(bytes)));
  } catch (cause) {
    throw unreadable(input.in ?? "standard input", passphrase !== undefined, cause);
  } finally {
    contents.fill(0);
    passphrase?.wipe();
  }
}

/** PEM says what it holds; DER is tried as each form. */
function openKey(key: Buffer, secret: { passphrase?: Buffer }): KeyObject {
  if (key[0] !== 0x30) return createPrivateKey({ key, format: "pem", ...secret });
  try {
    return createPrivateKey({ key, format: "der", type: "pkcs8", ...secret });
  } catch (error) {
    for (const type of ["sec1", "pkcs1"] as const) {
      try {
        return createPrivateKey({ key, format: "der", type });
      } catch {
        // What is told is why it is not the usual form.
      }
    }
    throw error;
  }
}

/** What OpenSSL's refusal means for whoever gave the file. */
function unreadable(file: string, hasPassphrase: boolean, cause: unknown): CommandError {
  const code = (cause as { code?: string }).code ?? "";
  if (code === "ERR_MISSING_PASSPHRASE" || (!hasPassphrase && code === "ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED")) {
    return new CommandError(`the private key in ${file} is encrypted`, ["add --passphrase SOURCE"]);
  }
  if (hasPassphrase && /BAD_DECRYPT|PKCS12|CIPHERFINAL/.test(code)) {
    return new CommandError(`the passphrase does not open the private key in ${file}`);
  }
  return new CommandError(`${file} is not a private key that can be read`, [
    "it is a private key in PEM, or in DER: PKCS#8, SEC1 (EC) or PKCS#1 (RSA)",
  ]);
}
