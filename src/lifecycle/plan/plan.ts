/**
 * Planning: from a declaration, an observation and a time to an ordered list of steps. Pure: the same three always give
 * the same bytes.
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import { familyOfLibrary } from "../../families/families.ts";
import type { CertificateFacts } from "../../x509/read.ts";
import type { Declaration, KeyDeclaration, PublishWhat } from "../declaration.ts";
import { finalIdentity } from "../identities.ts";
import {
  type Observation,
  observationDigest,
  type SeenAbsent,
  type SeenPresent,
  type SeenToken,
} from "../observation.ts";
import type { IssuerState } from "./certificate.ts";
import { planKey } from "./key.ts";
import { type KeyOutcome, stopped } from "./outcome.ts";
import { type Chain, keyUri, needsIssuers, publishedContents, sha256 } from "./publish.ts";
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
      steps.push({ action: "initialise", token: token.name, label: token.label ?? token.name, ...onlyPin });
    }
    steps.push(...initHook(token, seen, observation));
  }
  for (const key of issuersFirst(declaration)) {
    const decided = planOne(declaration, observation, key, rotate.includes(key.name), now, outcomes);
    const whole = { ...decided, steps: withFiles(declaration, observation, key, decided, outcomes) };
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

/**
 * A key whose files cannot be written is refused before anything is done, for a new certificate that no program gets
 * would be worse than an old one.
 */
function refuseUnwritable(
  { file }: Declaration,
  { files }: Observation,
  { name: key, token }: KeyDeclaration,
  outcome: KeyOutcome,
): KeyOutcome {
  const written = outcome.steps.flatMap((step) => (step.action === "publish" ? step.files : []));
  for (const { path } of written) {
    const seen = files[resolve(dirname(file), path)];
    const why = seen?.state === "unreadable" ? seen.error : seen?.blocked;
    if (why === undefined) continue;
    const reason = `${path} cannot be written: ${why}`;
    const hints = ["make its folder writable, or publish elsewhere"];
    const steps: Step[] = [{ action: "refuse", key, token, reason, hints, pin: false }];
    // A key that stays as it is can issue all the same.
    return outcome.certificate === undefined ? stopped(steps) : { ...outcome, steps };
  }
  return outcome;
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

/** A token that is absent is made where its PINs are declared and there is one to make it of. */
function initialises({ module, pin, soPin }: Declaration["tokens"][string], seen: SeenToken): boolean {
  const { initialise } = familyOfLibrary(module);
  const hasPins = pin !== undefined && (soPin !== undefined || initialise === "pin");
  return seen.state === "absent" && seen.blank && hasPins && initialise !== "no";
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
    const hints = seen.blank
      ? ["declare pin and soPin, and apply initialises it; or: keywright token init"]
      : ["insert it; or declare softFail: true for keys whose token may be absent"];
    return stop({ action: "refuse", ...of, reason: seen.reason, hints, pin: false });
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

/**
 * Adds the publishing of files that are missing or different, and a hook that is still to run, to a key that is kept;
 * and moves publishing behind everything that a changing key does in its token.
 */
function withFiles(
  declaration: Declaration,
  observation: Observation,
  key: KeyDeclaration,
  outcome: KeyOutcome,
  outcomes: ReadonlyMap<string, KeyOutcome>,
): Step[] {
  const publishes = (step: Step) => step.action === "publish" || step.action === "hook";
  const { steps } = outcome;
  // What makes room for a new key (a token that cannot keep both) goes before it; what was replaced goes last.
  const generates = steps.findIndex(({ action }) => action === "generate");
  const last = (step: Step) => step.action === "retire" && steps.indexOf(step) > generates;
  const ordered = [
    ...steps.filter((step) => !publishes(step) && !last(step)),
    ...steps.filter(publishes),
    ...steps.filter(last),
  ];
  const { certificate } = key;
  if (outcome.refused || certificate === undefined || ordered.some(publishes)) return ordered;
  const of = { key: key.name, token: key.token };
  const seen = observation.tokens[key.token]!;
  if (outcome.certificate === undefined || seen.state !== "present") return ordered;
  const uri = keyUri(seen.uri, finalIdentity(key));
  const folder = dirname(declaration.file);
  const issuers = issuersAbove(declaration, key, outcomes);
  const { der } = outcome.certificate;
  const lacking = (what: PublishWhat) => needsIssuers(what) && "unavailable" in issuers;
  const stale = certificate.publish.filter(({ path, what, mode }) => {
    const file = observation.files[resolve(folder, path)];
    // While an issuer cannot be seen, what it is part of is neither compared nor written.
    if (lacking(what)) return false;
    if (file?.state !== "present" || file.mode !== mode || !file.owned) return true;
    if (needsIssuers(what) && !("ders" in issuers)) return true;
    const chain: Chain = { certificate: der, issuers: "ders" in issuers ? issuers.ders : [] };
    return file.sha256 !== sha256(publishedContents(what, chain, uri));
  });
  const missing = certificate.publish.find(
    ({ path, what }) => lacking(what) && observation.files[resolve(folder, path)]?.state === "absent",
  );
  const waits: Step[] = [];
  if (missing !== undefined && "unavailable" in issuers) {
    const reason = `${missing.path} needs the certificate of ${issuers.unavailable}, which cannot be seen`;
    waits.push({ action: "wait", ...of, reason });
  }
  const pending = certificate.hook !== undefined && observation.pendingHooks.includes(key.name);
  const reason = stale.length > 0 ? "a file is missing or different" : "its hook has not run to its end";
  const more: Step[] = [];
  if (stale.length > 0) more.push({ action: "publish", ...of, files: stale, reason });
  if (certificate.hook !== undefined && (stale.length > 0 || pending)) {
    more.push({ action: "hook", ...of, hook: certificate.hook, reason });
  }
  if (more.length + waits.length === 0) return ordered;
  const before = ordered.filter((step) => step.action !== "keep" && !last(step));
  return [...before, ...more, ...ordered.filter(last), ...waits];
}

/** The certificates of the declared issuers up to the root; or that one of them changes, or which cannot be seen. */
function issuersAbove(
  { keys }: Declaration,
  key: KeyDeclaration,
  outcomes: ReadonlyMap<string, KeyOutcome>,
): { ders: Uint8Array[] } | { changes: true } | { unavailable: string } {
  const ders: Uint8Array[] = [];
  for (let name = key.certificate?.issuer; name !== undefined; name = keys[name]?.certificate?.issuer) {
    const outcome = outcomes.get(name);
    if (outcome?.certificate !== undefined) ders.push(outcome.certificate.der);
    else if (outcome?.asIssuer?.changes === true) return { changes: true };
    else return { unavailable: name };
  }
  return { ders };
}
