/**
 * Applying: plan, ask, lock, look again, compare, execute.
 * @module
 */
import { KeywrightError } from "../../cryptoki/errors.ts";
import { type Access, type Surroundings, withTokens } from "../access.ts";
import type { Declaration, TokenDeclaration } from "../declaration.ts";
import { observe } from "../observe.ts";
import { type PlanOptions, plan } from "../plan/plan.ts";
import { hasChanges, type Plan, refusals, type Step, samePlan } from "../plan/steps.ts";
import { withTokenLocks } from "../token-locks.ts";
import { execute, type KeyResult, type Progress } from "./execute.ts";
import { initialiseToken, runTokenHook } from "./initialise.ts";

/** The world is not as it was when the plan was made. */
export class StalePlanError extends KeywrightError {
  override readonly code = "ERR_PLAN_STALE";

  /** @param refused why keys are refused now, where that is the difference */
  constructor(refused: readonly string[] = []) {
    super("the tokens or files changed after the plan was made", {
      hints: [...refused, "look at the new plan: keywright plan"],
    });
  }
}

export interface ApplyOptions extends PlanOptions {
  /** A plan that was made and looked at before; anything else than this is stale. */
  readonly planned?: Plan;
  /** Shows the plan and answers whether to go on; not called when there is nothing to do. */
  readonly confirm: (plan: Plan) => Promise<boolean>;
  readonly progress: Progress;
  /** Told once when another process holds a token. */
  readonly onWait?: (holder: string) => void;
}

/** What came of it. */
export interface Applied {
  readonly plan: Plan;
  /** False when the person said no. */
  readonly confirmed: boolean;
  readonly results: readonly KeyResult[];
}

/**
 * Brings the tokens to what is declared.
 * @throws StalePlanError when something changed meanwhile
 */
export async function apply(
  declaration: Declaration,
  surroundings: Surroundings,
  options: ApplyOptions,
): Promise<Applied> {
  const now = options.planned === undefined ? surroundings.now() : new Date(options.planned.now);
  const planOptions = { rotate: options.planned?.rotate ?? options.rotate ?? [] };
  const look = async (accesses: ReadonlyMap<string, Access>) =>
    plan(declaration, await observe(declaration, accesses, surroundings), now, planOptions);
  const tokens = usedTokens(declaration);
  const locked = <T>(accesses: ReadonlyMap<string, Access>, use: () => Promise<T>): Promise<T> => {
    const { state } = surroundings;
    const lock = { state, purpose: `keywright apply ${declaration.file}` };
    const waiting = options.onWait === undefined ? {} : { onWait: options.onWait };
    return withTokenLocks([...accesses.values()].map(lockedAs), { ...lock, ...waiting }, use);
  };

  const first = await withTokens(tokens, surroundings, async (accesses) => {
    const made = await look(accesses);
    if (options.planned !== undefined && !samePlan(made, options.planned)) throw new StalePlanError();
    if (!hasChanges(made))
      return done(made, await execute(made, declaration, accesses, surroundings, options.progress));
    if (!(await options.confirm(made))) return { plan: made, confirmed: false, results: [] };
    return locked(accesses, async () => {
      const again = await look(accesses);
      if (!samePlan(again, made)) throw new StalePlanError();
      if (!again.steps.some(isOfToken)) {
        return done(again, await execute(again, declaration, accesses, surroundings, options.progress));
      }
      for (const step of again.steps.filter(isOfToken)) {
        await makeReady(step, accesses.get(step.token)!, surroundings, options.progress);
      }
      return { plan: made, next: true as const };
    });
  });
  if (!("next" in first)) return first;
  // The tokens are there now: open them anew, and do the rest of the plan that was confirmed.
  return withTokens(tokens, surroundings, (accesses) =>
    locked(accesses, async () => {
      const rest = await look(accesses);
      if (
        !sameSteps(
          rest.steps,
          first.plan.steps.filter((step) => !isOfToken(step)),
        )
      )
        throw new StalePlanError(refusals(rest).map(({ key, reason }) => `${key}: ${reason}`));
      return done(first.plan, await execute(rest, declaration, accesses, surroundings, options.progress));
    }),
  );
}

function done(made: Plan, results: KeyResult[]): Applied {
  return { plan: made, confirmed: true, results };
}

type TokenStep = Extract<Step, { action: "initialise" | "initHook" }>;

/** Steps that are done before any key's, and after which the tokens are opened anew. */
function isOfToken(step: Step): step is TokenStep {
  return step.action === "initialise" || step.action === "initHook";
}

async function makeReady(
  step: TokenStep,
  access: Access,
  surroundings: Surroundings,
  progress: Progress,
): Promise<void> {
  progress.begin(step);
  try {
    if (step.action === "initialise") await initialiseToken(access, step.label, surroundings);
    else await runTokenHook(access, step.hook, surroundings);
  } catch (error) {
    progress.end(step, error as Error);
    throw error;
  }
  progress.end(step);
}

function sameSteps(a: readonly Step[], b: readonly Step[]): boolean {
  const text = (steps: readonly Step[]) =>
    JSON.stringify(steps, (key, value: unknown) => (key === "handle" ? undefined : value));
  return text(a) === text(b);
}

/** The tokens that hold a declared key, and those that can be initialised. */
export function usedTokens({ tokens, keys }: Declaration): TokenDeclaration[] {
  const used = new Set(Object.values(keys).map(({ token }) => token));
  return Object.values(tokens).filter(({ name, soPin }) => used.has(name) || soPin !== undefined);
}

/** What a token is locked as: its own URI where it is there; of one that is to be made, what it is to become. */
function lockedAs(access: Access): string {
  const { module, store, label } = access.declared;
  return access.state === "present" ? access.token.uri : JSON.stringify([module, store, label]);
}
