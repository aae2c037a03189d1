/**
 * `keywright cert export`
 * @module
 */
import { certificatePem } from "../../x509/read.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import { CommandError } from "../errors.ts";
import { OUT_OPTION, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { namedObject } from "../objects.ts";
import { findTarget, OBJECT_OPTIONS, withSession } from "../target.ts";

export const spec = command({
  name: "cert export",
  summary: "write a certificate of the token to a file",
  words: { usage: "KEY", least: 1, most: 1 },
  options: { ...OBJECT_OPTIONS, der: flag("DER instead of PEM"), ...OUT_OPTION },
  notes: ["Logs in only when a PIN is given: certificates are mostly public."],
  examples: ["keywright cert export www --out www.crt"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { login: target.pins.pin !== undefined }, async (session) => {
    const object = await namedObject(session, target, "cert");
    const { CKA_VALUE } = await object.get("CKA_VALUE");
    if (CKA_VALUE === undefined)
      throw new CommandError(`${await object.uri()} holds no certificate, only a reference to one`);
    await writeOut(input.der ? CKA_VALUE : certificatePem(CKA_VALUE), input, io);
  });
  return EXIT.done;
}
