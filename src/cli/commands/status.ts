/**
 * `keywright status`
 * @module
 */
import { withTokens } from "../../lifecycle/access.ts";
import { observe } from "../../lifecycle/observe.ts";
import { plan } from "../../lifecycle/plan/plan.ts";
import { refusals } from "../../lifecycle/plan/steps.ts";
import { statusOf } from "../../lifecycle/status.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { FILE_OPTION, loadDeclaration, surroundingsOf } from "../surroundings.ts";
import { statusView } from "../views/status.ts";

export const spec = command({
  name: "status",
  summary: "show where every declared key stands, and what else the tokens hold",
  options: { ...FILE_OPTION, json: flag("print JSON (schema keywright/status/1)") },
  examples: ["keywright status", "keywright status --json | jq '.keys[] | select(.state != \"present\")'"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const declaration = await loadDeclaration(input);
  const surroundings = surroundingsOf(declaration, input, io);
  const { status, planned } = await withTokens(Object.values(declaration.tokens), surroundings, async (accesses) => {
    const observation = await observe(declaration, accesses, surroundings);
    const planned = plan(declaration, observation, surroundings.now());
    return { status: statusOf(declaration, observation, planned), planned };
  });
  io.show(statusView, status);
  const refused = refusals(planned);
  if (refused.some(({ pin }) => pin)) return EXIT.pin;
  return refused.length > 0 ? EXIT.failed : EXIT.done;
}
