/**
 * `keywright mechanism list`
 * @module
 */
import { flagNames, MECHANISM_FLAGS } from "../../spec/flags.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io, View } from "../io.ts";
import { findTarget, TARGET_OPTIONS, withToken } from "../target.ts";
import { table } from "../words.ts";

const { pin: _pin, ...OPTIONS } = TARGET_OPTIONS;

export const spec = command({
  name: "mechanism list",
  summary: "list what a token can do",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: { ...OPTIONS, json: flag("print JSON (schema keywright/mechanism-list/1)") },
  examples: ["keywright mechanism list demo"],
});

interface Row {
  readonly mechanism: string;
  readonly code: number;
  readonly minKeySize: number;
  readonly maxKeySize: number;
  readonly flags: readonly string[];
}

const view: View<{ readonly token: string; readonly mechanisms: readonly Row[] }> = {
  schema: "keywright/mechanism-list/1",
  human({ mechanisms }) {
    const size = ({ minKeySize, maxKeySize }: Row) => (maxKeySize === 0 ? "-" : `${minKeySize}-${maxKeySize}`);
    const can = ({ flags }: Row) => flags.map((name) => name.replace("CKF_", "").toLowerCase()).join(" ");
    return table([["MECHANISM", "SIZES", "CAN"], ...mechanisms.map((row) => [row.mechanism, size(row), can(row)])]);
  },
};

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withToken(target, input, io, async ({ module, token }) => {
    const rows = (await module.mechanisms(token.slot)).map(({ type, info }) => ({
      mechanism: mechanismName(type),
      code: type,
      minKeySize: Number(info.minKeySize),
      maxKeySize: Number(info.maxKeySize),
      flags: flagNames(Number(info.flags), MECHANISM_FLAGS),
    }));
    io.show(view, { token: token.uri, mechanisms: rows.sort((a, b) => a.code - b.code) });
  });
  return EXIT.done;
}
