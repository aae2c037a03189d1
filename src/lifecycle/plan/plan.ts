/**
 * Planning: from a declaration, an observation and a time to an ordered list of steps. Pure: the same three always give
 * the same bytes.
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import { parseUri } from "../../cryptoki/uri.ts";
import { familyOfLibrary } from "../../families/families.ts";
import type { Declaration, KeyDeclaration } from "../declaration.ts";
import {
  type Observation,
  observationDigest,
  type SeenAbsent,
  type SeenPresent,
  type SeenToken,
} from "../observation.ts";
import type { IssuerState } from "./certificate.ts";
import { refuseUnwritable, withFiles } from "./files.ts";
import { planKey } from "./key.ts";
import { type KeyOutcome, stopped } from "./outcome.ts";
import type { Plan, Step } from "./steps.ts";

export interface PlanOptions {
  /** Names of keys to replace although nothing else asks for it. */
  readonly rotate?: readonly string[];
}

/** Makes a plan. */
export function plan(declaration: Declaration, observation: Observation, now: Date, options: PlanOptions = {}): Plan {
  const rotate = [...(options.rotate ?? [])].sort();
  const steps: Step[] = [];
  const outcomes = new Map<string, KeyOutcome>();
  for (const token of Object.values(declaration.tokens)) {
    const seen = observation.tokens[token.name];
    if (seen !== undefined && initialises(token, seen)) {
      const onlyPin = seen.state === "absent" && seen.lacksPin === true ? { onlyPin: true as const } : {};
      steps.push({ action: "initialise", token: token.name, label: labelOf(token), ...onlyPin });
    }
    steps.push(...initHook(token, seen, observation));
  }
  for (const key of issuersFirst(declaration)) {
    const decided = planOne(declaration, observation, key, rotate.includes(key.name), now, outcomes);
    const whole = withFiles(declaration, observation, key, decided, outcomes);
    const outcome = refuseUnwritable(declaration, observation, key, whole);
    outcomes.set(key.name, outcome);
    steps.push(...outcome.steps);
  }
  return {
    format: "keywright-plan/1",
    now: now.toISOString(),
    declaration: createHash("sha256").update(JSON.stringify(declaration)).digest("hex"),
    observation: observationDigest(observation),
    rotate,
    steps,
  };
}

/** The hook of a token that this plan initialises, or whose hook has not run to its end. */
function initHook(
  token: Declaration["tokens"][string],
  seen: SeenToken | undefined,
  { pendingInitHooks }: Observation,
): Step[] {
  const { name, initHook: hook } = token;
  if (hook === undefined || seen === undefined) return [];
  const pending = seen.state === "present" && pendingInitHooks.includes(name);
  if (!pending && !initialises(token, seen)) return [];
  const reason = pending ? "it has not run to its end" : "the token is new";
  return [{ action: "initHook", token: name, hook, reason }];
}

/** What a new token is called: as it is looked for. */
function labelOf({ name, label, uri }: Declaration["tokens"][string]): string {
  return label ?? (uri === undefined ? undefined : parseUri(uri).path.token) ?? name;
}

/** A token that is absent is made where its PINs are declared and there is one to make it of. */
function initialises({ module, pin, soPin }: Declaration["tokens"][string], seen: SeenToken): boolean {
  const { initialise } = familyOfLibrary(module);
  const hasPins = pin !== undefined && (soPin !== undefined || initialise === "pin");
  return seen.state === "absent" && seen.blank && seen.wasHere !== true && hasPins && initialise !== "no";
}

/** In the declared order, but each issuer before those that it issues for. */
function issuersFirst({ keys }: Declaration): KeyDeclaration[] {
  const ordered = new Set<KeyDeclaration>();
  const visit = (key: KeyDeclaration) => {
    if (ordered.has(key)) return;
    const issuer = key.certificate?.issuer;
    if (issuer !== undefined) visit(keys[issuer]!);
    ordered.add(key);
  };
  for (const key of Object.values(keys)) visit(key);
  return [...ordered];
}

const EVERY_TYPE = { least: 0, most: Number.MAX_SAFE_INTEGER };
/** A token that this plan initialises: nothing in it; what it can make is seen now, or when it is there. */
function newToken({ canGenerate }: SeenAbsent, module: string) {
  return {
    family: familyOfLibrary(module).name,
    loggedIn: true,
    objects: [],
    canGenerate: canGenerate ?? { RSA: EVERY_TYPE, EC: EVERY_TYPE, Edwards: EVERY_TYPE, Montgomery: EVERY_TYPE },
  } satisfies Partial<SeenPresent>;
}

function absentHints({ name, module }: Declaration["tokens"][string], { blank, wasHere }: SeenAbsent): string[] {
  if (wasHere === true) {
    return [
      "insert it, or mount what it is on",
      `if it is gone for good, and with it its keys, make it anew: keywright token init ${name}`,
    ];
  }
  const hasSo = familyOfLibrary(module).initialise !== "pin";
  return blank
    ? [`declare pin${hasSo ? " and soPin" : ""}, and apply initialises it; or: keywright token init`]
    : ["insert it; or declare softFail: true for keys whose token may be absent"];
}

function planOne(
  declaration: Declaration,
  observation: Observation,
  key: KeyDeclaration,
  rotate: boolean,
  now: Date,
  outcomes: ReadonlyMap<string, KeyOutcome>,
): KeyOutcome {
  const seen = observation.tokens[key.token]!;
  const of = { key: key.name, token: key.token };
  const stop = (step: Step): KeyOutcome => stopped([step]);
  const twin = twinOf(declaration, observation, key.token);
  if (twin !== undefined) {
    const reason = `the tokens ${twin} and ${key.token} are the same token`;
    return stop({ action: "refuse", ...of, reason, hints: ["declare it once, under one name"], pin: false });
  }
  if (seen.state === "unreadable") {
    return stop({ action: "refuse", ...of, reason: seen.error, hints: seen.hints, pin: seen.pin });
  }
  if (seen.state === "absent" && !initialises(declaration.tokens[key.token]!, seen)) {
    if (key.softFail) return stop({ action: "skip", ...of, reason: seen.reason });
    const reason = seen.wasHere === true ? `${seen.reason}; it was there when it was used last` : seen.reason;
    return stop({
      action: "refuse",
      ...of,
      reason,
      hints: absentHints(declaration.tokens[key.token]!, seen),
      pin: false,
    });
  }
  return planKey({
    key,
    token: seen.state === "present" ? seen : newToken(seen, declaration.tokens[key.token]!.module),
    observation,
    issuer: issuerOf(key, outcomes),
    issuerWaits: issuerWaits(key, outcomes),
    rotate,
    now,
    resolve: (path) => resolve(dirname(declaration.file), path),
  });
}

/** An earlier declared token that turned out to be this one: ids would be looked after twice. */
function twinOf({ tokens }: Declaration, observation: Observation, name: string): string | undefined {
  const reached = (one: string) => {
    const seen = observation.tokens[one];
    return seen?.state === "present" ? JSON.stringify([seen.uri, seen.reach]) : one;
  };
  const names = Object.keys(tokens);
  return names.slice(0, names.indexOf(name)).find((other) => reached(other) === reached(name));
}

function issuerOf(key: KeyDeclaration, outcomes: ReadonlyMap<string, KeyOutcome>): IssuerState | undefined {
  const name = key.certificate?.issuer;
  const outcome = name === undefined ? undefined : outcomes.get(name);
  return outcome?.refused === true ? undefined : outcome?.asIssuer;
}

function issuerWaits(key: KeyDeclaration, outcomes: ReadonlyMap<string, KeyOutcome>): boolean {
  const steps = outcomes.get(key.certificate?.issuer ?? "")?.steps ?? [];
  return steps.some(({ action }) => action === "wait" || action === "skip");
}
