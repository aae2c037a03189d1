/**
 * `keywright plan`
 * @module
 */
import { withTokens } from "../../lifecycle/access.ts";
import { usedTokens } from "../../lifecycle/apply/apply.ts";
import { observe } from "../../lifecycle/observe.ts";
import { plan } from "../../lifecycle/plan/plan.ts";
import { hasChanges, refusals } from "../../lifecycle/plan/steps.ts";
import { command, EXIT, type ExitCode, flag, type Input, text, texts } from "../command.ts";
import { OWNER_ALONE, writeTo } from "../files.ts";
import type { Io } from "../io.ts";
import { rotated } from "../names.ts";
import { FILE_OPTION, loadDeclaration, surroundingsOf } from "../surroundings.ts";
import { planView } from "../views/plan.ts";

export const spec = command({
  name: "plan",
  summary: "show what apply would do",
  options: {
    ...FILE_OPTION,
    rotate: texts("NAME", "replace this key by a new one"),
    out: text("FILE", "write the plan to a file, for: keywright apply --plan FILE"),
    exitCode: flag("exit with 2 when changes are pending"),
    json: flag("print JSON (schema keywright/plan/1)"),
  },
  examples: ["keywright plan", "keywright plan --rotate www --out rotation.json"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const declaration = await loadDeclaration(input);
  const surroundings = surroundingsOf(declaration, input, io);
  const made = await withTokens(usedTokens(declaration), surroundings, async (accesses) =>
    plan(declaration, await observe(declaration, accesses, surroundings), surroundings.now(), {
      rotate: rotated(declaration, input.rotate),
    }),
  );
  io.show(planView, made);
  if (input.out !== undefined) {
    await writeTo(input.out, `${JSON.stringify(made, bigintAsText, 2)}\n`, OWNER_ALONE);
  }
  const refused = refusals(made);
  if (refused.length > 0) return refused.some(({ pin }) => pin) ? EXIT.pin : EXIT.failed;
  return input.exitCode && hasChanges(made) ? EXIT.changesPending : EXIT.done;
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
