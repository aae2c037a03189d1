/**
 * Applying: plan, ask, lock, look again, compare, execute.
 * @module
 */
import { KeywrightError } from "../../cryptoki/errors.ts";
import { makePrivateFolder } from "../../host/files.ts";
import { type Access, type Surroundings, withTokens } from "../access.ts";
import type { Declaration, TokenDeclaration } from "../declaration.ts";
import { isMarked, mark, tokenMarker } from "../markers.ts";
import type { Observation } from "../observation.ts";
import { observe } from "../observe.ts";
import { type PlanOptions, plan } from "../plan/plan.ts";
import { hasChanges, type Plan, refusals, type Step, samePlan } from "../plan/steps.ts";
import { type TokenLockOptions, withTokenLocks } from "../token-locks.ts";
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
  if (options.planned !== undefined) requireRecent(now, surroundings.now());
  const planOptions = { rotate: options.planned?.rotate ?? options.rotate ?? [] };
  let replacing: Observation["replacing"] = {};
  const look = async (accesses: ReadonlyMap<string, Access>) => {
    const observation = await observe(declaration, accesses, surroundings);
    replacing = observation.replacing;
    return plan(declaration, observation, now, planOptions);
  };
  const tokens = usedTokens(declaration);
  const locks = lockOptions(declaration, options);
  const carryOut = async (accesses: ReadonlyMap<string, Access>, made: Plan) => {
    for (const step of made.steps) {
      if (step.action !== "initHook") continue;
      // Of a token that an earlier run made.
      const access = accesses.get(step.token);
      if (access?.state !== "present") throw new StalePlanError();
      await told(step, options.progress, () => runTokenHook(access.declared, access.token.uri, surroundings));
    }
    await noteTokens(accesses, surroundings);
    return execute(made, declaration, accesses, surroundings, replacing, options.progress);
  };

  const first = await withTokens(tokens, surroundings, async (accesses) => {
    const made = await look(accesses);
    if (options.planned !== undefined && !samePlan(made, options.planned)) throw new StalePlanError();
    if (!hasChanges(made)) return done(made, await carryOut(accesses, made));
    if (!(await options.confirm(made))) return { plan: made, confirmed: false, results: [] };
    // Where what is begun is noted: that it cannot be is found out before anything is begun.
    makePrivateFolder(surroundings.state);
    if (made.steps.some(isInitialise)) return { plan: made, next: accesses };
    return withTokenLocks([...accesses.values()].map(lockedAs), locks, async () => {
      const again = await look(accesses);
      if (!samePlan(again, made)) throw new StalePlanError();
      return done(again, await carryOut(accesses, again));
    });
  });
  if (!("next" in first)) return first;
  const making = first.plan.steps.filter(isInitialise);
  for (const step of making) {
    await told(step, options.progress, () =>
      initialiseToken(first.next.get(step.token)!, step.label, surroundings, locks),
    );
  }
  // The tokens are there now: open them anew, and do the rest of the plan that was confirmed.
  const made = new Set(making.map(({ token }) => token));
  const expected = first.plan.steps.filter((step) => "key" in step || !made.has(step.token));
  return withTokens(tokens, surroundings, (accesses) =>
    withTokenLocks([...accesses.values()].map(lockedAs), locks, async () => {
      const rest = await look(accesses);
      if (!sameSteps(rest.steps, expected)) {
        throw new StalePlanError(refusals(rest).map(({ key, reason }) => `${key}: ${reason}`));
      }
      return done(first.plan, await carryOut(accesses, rest));
    }),
  );
}

/** How long a plan may be looked at before it is carried out: its certificates begin when it was made. In ms. */
const MOST_AGE = 24 * 3_600_000;
const CLOCK_TOLERANCE = 3_600_000;

function requireRecent(made: Date, now: Date): void {
  const age = now.getTime() - made.getTime();
  if (age <= MOST_AGE && age >= -CLOCK_TOLERANCE) return;
  const told = `it was made at ${made.toISOString()}, and this machine's clock says ${now.toISOString()}`;
  throw new StalePlanError([told, "a plan is good for a day"]);
}

function lockOptions({ file }: Declaration, { onWait }: ApplyOptions): TokenLockOptions {
  return { purpose: `keywright apply ${file}`, ...(onWait === undefined ? {} : { onWait }) };
}

/** One that is missing the next time is not made anew. */
async function noteTokens(accesses: ReadonlyMap<string, Access>, surroundings: Surroundings): Promise<void> {
  for (const access of accesses.values()) {
    const marker = tokenMarker("tokens", access.declared, surroundings);
    if (access.state === "present" && !isMarked(marker)) await mark(marker);
  }
}

function done(made: Plan, results: KeyResult[]): Applied {
  return { plan: made, confirmed: true, results };
}

type Initialise = Extract<Step, { action: "initialise" }>;

function isInitialise(step: Step): step is Initialise {
  return step.action === "initialise";
}

async function told(step: Step, progress: Progress, use: () => Promise<void>): Promise<void> {
  progress.begin(step);
  try {
    await use();
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
