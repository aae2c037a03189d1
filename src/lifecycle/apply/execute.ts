/**
 * Carrying out a plan, key by key. A key that fails keeps no other from being done, but those that it issues for.
 * @module
 */

import { KeywrightError } from "../../cryptoki/errors.ts";
import { HostError } from "../../host/errors.ts";
import type { Access, Surroundings } from "../access.ts";
import type { Declaration, KeyDeclaration } from "../declaration.ts";
import type { Observation, SeenReplacement } from "../observation.ts";
import type { Plan, Step } from "../plan/steps.ts";
import { KeyRun } from "./key-run.ts";
import { ApplyError } from "./keys.ts";

/** What became of a key. */
export interface KeyResult {
  readonly key: string;
  readonly status: "done" | "kept" | "waiting" | "skipped" | "refused" | "failed";
  readonly error?: KeywrightError | HostError;
}

/** Told of each step as it goes on. */
export interface Progress {
  begin(step: Step): void;
  end(step: Step, error?: Error): void;
}

/**
 * Carries out the steps of every key; tokens are initialised before, see initialise.ts.
 * @param replacing what was half-done when the plan was made; the markers of what is not any more are removed
 */
export async function execute(
  plan: Plan,
  declaration: Declaration,
  accesses: ReadonlyMap<string, Access>,
  surroundings: Surroundings,
  replacing: Observation["replacing"],
  progress: Progress,
): Promise<KeyResult[]> {
  const results: KeyResult[] = [];
  const failed = new Set<string>();
  for (const key of Object.values(declaration.keys).sort((a, b) => order(plan, a) - order(plan, b))) {
    const steps = plan.steps.filter((step) => "key" in step && step.key === key.name);
    const issuer = key.certificate?.issuer;
    const blocked = issuer !== undefined && failed.has(issuer) && steps.some(changes);
    const result = blocked
      ? {
          key: key.name,
          status: "failed" as const,
          error: new ApplyError(`not done, because its issuer ${issuer} failed`),
        }
      : await executeKey(steps, new KeyRun(key, declaration, accesses, surroundings), replacing[key.name], progress);
    if (result.status === "failed") failed.add(key.name);
    results.push(result);
  }
  return results;
}

function order(plan: Plan, key: KeyDeclaration): number {
  return plan.steps.findIndex((step) => "key" in step && step.key === key.name);
}

function changes({ action }: Step): boolean {
  return action !== "keep" && action !== "wait" && action !== "skip" && action !== "refuse";
}

async function executeKey(
  steps: readonly Step[],
  run: KeyRun,
  replacement: SeenReplacement | undefined,
  progress: Progress,
): Promise<KeyResult> {
  const { key } = run;
  const only = steps.find((step) => !changes(step));
  if (!steps.some(changes)) {
    const status = { keep: "kept", wait: "waiting", skip: "skipped", refuse: "refused" } as const;
    const idle = (only?.action ?? "keep") as keyof typeof status;
    if (idle === "keep" && replacement !== undefined) await run.settled(replacement);
    return { key: key.name, status: status[idle] };
  }
  for (const step of steps.filter(changes)) {
    progress.begin(step);
    try {
      await run.step(step);
      progress.end(step);
    } catch (error) {
      if (!(error instanceof KeywrightError || error instanceof HostError)) throw error;
      progress.end(step, error);
      return { key: key.name, status: "failed", error };
    }
  }
  await run.settled();
  return { key: key.name, status: "done" };
}
