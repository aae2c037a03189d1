/**
 * `keywright apply`
 * @module
 */
import { CryptokiError } from "../../cryptoki/errors.ts";
import { explainSystem } from "../../host/errors.ts";
import { readFile } from "../../host/files.ts";
import { apply } from "../../lifecycle/apply/apply.ts";
import type { KeyResult, Progress } from "../../lifecycle/apply/execute.ts";
import { hasChanges, type Plan, refusals, type Step } from "../../lifecycle/plan/steps.ts";
import { command, EXIT, type ExitCode, flag, type Input, text, texts } from "../command.ts";
import { CommandError, NotConfirmedError, tellError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { rotated } from "../names.ts";
import { FILE_OPTION, loadDeclaration, surroundingsOf } from "../surroundings.ts";
import { appliedView } from "../views/applied.ts";
import { describeStep, planView } from "../views/plan.ts";

export const spec = command({
  name: "apply",
  summary: "bring the tokens to what is declared",
  options: {
    ...FILE_OPTION,
    rotate: texts("NAME", "replace this key by a new one"),
    plan: text("FILE", "do what this plan says, or nothing if it is stale"),
    yes: flag("do not ask"),
    json: flag("print JSON (schema keywright/applied/1)"),
  },
  notes: ["Shows the plan and asks. Safe to repeat, and to interrupt: the next run finishes what was begun."],
  examples: ["keywright apply", "keywright apply --yes --rotate www", "keywright apply --plan rotation.json --yes"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  if (input.plan !== undefined && input.rotate.length > 0) {
    throw new UsageError("--rotate does not go with --plan, which says what is rotated", [
      `give it to plan: keywright plan ${input.rotate.map((name) => `--rotate ${name}`).join(" ")} --out FILE`,
    ]);
  }
  const declaration = await loadDeclaration(input);
  const planned = input.plan === undefined ? undefined : await readPlan(input.plan);
  const applied = await apply(declaration, surroundingsOf(declaration, input, io), {
    ...(planned === undefined ? { rotate: rotated(declaration, input.rotate) } : { planned }),
    confirm: (plan) => confirm(plan, input, io),
    progress: progressOn(io),
    onWait: (holder) => io.tell(`waiting for ${holder}`),
  }).finally(() => io.onInterrupt(undefined));
  if (!applied.confirmed) {
    io.tell("keywright: nothing was changed");
    return EXIT.needsConfirmation;
  }
  io.show(appliedView, {
    changed: hasChanges(applied.plan),
    keys: applied.results.map(({ key, status, error }) => ({
      key,
      status,
      ...(error === undefined ? {} : { error: error.message }),
    })),
  });
  return report(applied.plan, applied.results, io);
}

/** What was refused or failed, as errors; and the exit code. */
function report(plan: Plan, results: readonly KeyResult[], io: Io): ExitCode {
  const refused = refusals(plan);
  for (const { key, reason, hints } of refused) {
    io.tell(`keywright: error: ${key}: ${reason}`);
    for (const hint of hints) io.tell(`keywright: hint: ${hint}`);
  }
  const errors = results.flatMap(({ error }) => (error === undefined ? [] : [error]));
  for (const error of errors) tellError(error, io);
  if (refused.length === 0 && errors.length === 0) return EXIT.done;
  const pin = refused.some((step) => step.pin) || errors.some((error) => error instanceof CryptokiError && error.isPin);
  return pin ? EXIT.pin : EXIT.failed;
}

/** No more of a file than this is read as a plan. In bytes. */
const MOST_PLAN = 64 * 1024 * 1024;

async function readPlan(file: string): Promise<Plan> {
  let plan: Partial<Record<keyof Plan, unknown>> | null;
  try {
    plan = JSON.parse((await readFile(file, MOST_PLAN)).toString()) as typeof plan;
  } catch (error) {
    throw new CommandError(`cannot read the plan ${file}: ${explainSystem(error)}`);
  }
  const isTexts = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === "string");
  const isPlan =
    plan?.format === "keywright-plan/1" &&
    typeof plan.now === "string" &&
    !Number.isNaN(Date.parse(plan.now)) &&
    isTexts(plan.rotate) &&
    Array.isArray(plan.steps);
  // Its steps are compared with those of a plan that is made now; only the time and what to rotate are taken from it.
  if (!isPlan) throw new CommandError(`${file} is not a plan`, ["write one: keywright plan --out FILE"]);
  return plan as unknown as Plan;
}

async function confirm(plan: Plan, input: Input<typeof spec>, io: Io): Promise<boolean> {
  if (!input.json) io.out(planView.human(plan, io.style));
  if (!input.yes && !io.interactive) throw new NotConfirmedError("apply changes tokens");
  const isConfirmed = input.yes || (await io.confirm("\nDo this?"));
  if (isConfirmed) io.onInterrupt("the next apply completes what was begun");
  return isConfirmed;
}

/** A line for each step, and a sign of life while one takes long (an RSA key in a smart card takes minutes). */
function progressOn(io: Io): Progress {
  let alive: NodeJS.Timeout | undefined;
  return {
    begin(step) {
      const began = Date.now();
      alive = setInterval(() => {
        if (!io.isAsking) io.tell(`  … ${line(step)}: ${Math.round((Date.now() - began) / 1000)} s`);
      }, 5000);
      alive.unref();
    },
    end(step, error) {
      clearInterval(alive);
      io.tell(`  ${error === undefined ? "done" : "FAILED"}: ${line(step)}`);
    },
  };
}

function line(step: Step): string {
  const [head] = describeStep(step);
  return `${"key" in step ? `${step.key}: ` : ""}${head!.replace(/ {2}#.*/, "")}`;
}
