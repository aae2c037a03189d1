/**
 * The files and the hook of a key: what is written, when, and that it can be.
 * @module
 */
import { dirname, resolve } from "node:path";
import { fingerprint } from "../../x509/read.ts";
import type { Declaration, KeyDeclaration, PublishWhat } from "../declaration.ts";
import { finalIdentity } from "../identities.ts";
import type { Observation } from "../observation.ts";
import { type KeyOutcome, stopped } from "./outcome.ts";
import { isOutside } from "./outside.ts";
import { keyUri, needsIssuers, publishedContents, sha256 } from "./publish.ts";
import type { Step } from "./steps.ts";

/**
 * A key whose files cannot be written, or whose hook cannot be run, is refused before anything is done, for a new
 * certificate that no program gets would be worse than an old one.
 */
export function refuseUnwritable(
  { file }: Declaration,
  { files, brokenHooks }: Observation,
  { name: key, token }: KeyDeclaration,
  outcome: KeyOutcome,
): KeyOutcome {
  const stop = (reason: string, hint: string) => {
    const steps: Step[] = [{ action: "refuse", key, token, reason, hints: [hint], pin: false }];
    // A key that stays as it is can issue all the same.
    return outcome.certificate === undefined ? stopped(steps) : { ...outcome, steps };
  };
  const folder = dirname(file);
  for (const step of outcome.steps) {
    if (step.action !== "hook" && step.action !== "ask") continue;
    const why = brokenHooks[resolve(folder, step.hook)];
    if (why !== undefined) return stop(`the hook ${step.hook} cannot be run: ${why}`, "it is a program, with its path");
  }
  const written = outcome.steps.flatMap((step) => (step.action === "publish" ? step.files : []));
  for (const { path } of written) {
    const seen = files[resolve(folder, path)];
    const why = seen?.state === "unreadable" ? seen.error : seen?.blocked;
    if (why === undefined) continue;
    const mend = seen?.state === "unreadable" ? "" : "make its folder writable, or ";
    return stop(`${path} cannot be written: ${why}`, `${mend}publish elsewhere`);
  }
  return outcome;
}

/**
 * Adds the publishing of files that are missing or different, and a hook that is still to run, to a key that is kept;
 * and moves publishing behind everything that a changing key does in its token.
 */
export function withFiles(
  declaration: Declaration,
  observation: Observation,
  key: KeyDeclaration,
  outcome: KeyOutcome,
  outcomes: ReadonlyMap<string, KeyOutcome>,
): KeyOutcome {
  const publishes = (step: Step) => step.action === "publish" || step.action === "hook";
  const { steps } = outcome;
  // What makes room for a new key goes before it; what was replaced goes last.
  const last = (step: Step) => step.action === "retire" && step.makesRoom !== true;
  const ordered = [
    ...steps.filter((step) => !publishes(step) && !last(step)),
    ...steps.filter(publishes),
    ...steps.filter(last),
  ];
  const { certificate } = key;
  const withSteps = (all: readonly Step[]): KeyOutcome => ({ ...outcome, steps: all });
  if (outcome.refused || certificate === undefined) return withSteps(ordered);
  const issuers = issuersAbove(declaration, observation, key, outcome, outcomes);
  const lacking = (what: PublishWhat) =>
    needsIssuers(what) &&
    ("unavailable" in issuers || (what === "chain" && isOutside(key) && issuers.ders?.length === 0));
  const folder = dirname(declaration.file);
  const of = { key: key.name, token: key.token };
  const needs = (path: string) => {
    const above =
      "unavailable" in issuers ? issuers.unavailable : `those above it, which ${certificate.import} does not hold`;
    return `${path} needs ${above}`;
  };
  if (ordered.some(publishes)) {
    // It would go on showing the old certificate.
    const left = certificate.publish.find(
      ({ path, what }) => lacking(what) && observation.files[resolve(folder, path)]?.state === "present",
    );
    if (left === undefined || outcome.certificate !== undefined)
      return withSteps(ordered.flatMap((step) => withoutLacking(step, lacking)));
    const hints = ["put them after the certificate in the import file; or take the file away, if it is not wanted"];
    return stopped([{ action: "refuse", ...of, reason: needs(left.path), hints, pin: false }]);
  }
  const seen = observation.tokens[key.token]!;
  if (outcome.certificate === undefined || seen.state !== "present") return withSteps(ordered);
  const { uri } = seen;
  const { der } = outcome.certificate;
  const stale = certificate.publish.filter(({ path, what, mode }) => {
    const file = observation.files[resolve(folder, path)];
    // While an issuer cannot be seen, what it is part of is neither compared nor written.
    if (lacking(what)) return false;
    if (file?.state !== "present" || file.mode !== mode || !file.owned) return true;
    const ders = "ders" in issuers ? issuers.ders : undefined;
    if (needsIssuers(what) && ders === undefined) return true;
    const contents = { certificate: der, issuers: ders ?? [] };
    return file.sha256 !== sha256(publishedContents(what, contents, keyUri(uri, finalIdentity(key))));
  });
  const missing = certificate.publish.find(({ path, what }) => {
    const file = observation.files[resolve(folder, path)];
    if (!lacking(what)) return false;
    return (
      file?.state === "absent" || (file?.state === "present" && what === "fullchain" && file.first !== fingerprint(der))
    );
  });
  const waits: Step[] = missing === undefined ? [] : [{ action: "wait", ...of, reason: needs(missing.path) }];
  const pending = certificate.hook !== undefined && observation.pendingHooks.includes(key.name);
  const reason = stale.length > 0 ? "a file is missing or different" : "its hook has not run to its end";
  const more: Step[] = [];
  if (stale.length > 0) more.push({ action: "publish", ...of, files: stale, reason });
  if (certificate.hook !== undefined && (stale.length > 0 || pending)) {
    more.push({ action: "hook", ...of, hook: certificate.hook, reason });
  }
  if (more.length + waits.length === 0) return withSteps(ordered);
  const before = ordered.filter((step) => step.action !== "keep" && !last(step));
  return withSteps([...before, ...more, ...ordered.filter(last), ...waits]);
}

/** The files of a step that need nothing that is not there. */
function withoutLacking(step: Step, lacking: (what: PublishWhat) => boolean): Step[] {
  if (step.action !== "publish") return [step];
  const files = step.files.filter(({ what }) => !lacking(what));
  return files.length === 0 ? [] : [{ ...step, files }];
}

type Above = { readonly ders: readonly Uint8Array[] } | { readonly changes: true; readonly ders?: undefined };

/**
 * The certificates above a key's: of its declared issuers up to the root, and those that an outside CA sent along; or that
 * one of them changes, or which cannot be seen.
 */
function issuersAbove(
  { keys, file }: Declaration,
  { imports }: Observation,
  key: KeyDeclaration,
  own: KeyOutcome,
  outcomes: ReadonlyMap<string, KeyOutcome>,
): Above | { readonly unavailable: string } {
  const ders: Uint8Array[] = [];
  let [of, outcome]: [KeyDeclaration, KeyOutcome | undefined] = [key, own];
  for (;;) {
    if (isOutside(of)) {
      const above = sentAlong(of, outcome, imports, dirname(file));
      if (above !== undefined) return { ders: [...ders, ...above] };
      return { unavailable: `the certificates above that of ${of.name}, which no import file holds` };
    }
    const name = of.certificate?.issuer;
    if (name === undefined) return { ders };
    outcome = outcomes.get(name);
    if (outcome?.certificate !== undefined) ders.push(outcome.certificate.der);
    else if (outcome?.asIssuer?.changes === true) return { changes: true };
    else return { unavailable: `the certificate of ${name}, which cannot be seen` };
    of = keys[name]!;
  }
}

/** What stands after a key's certificate in the file that it was imported from. */
function sentAlong(
  { certificate }: KeyDeclaration,
  outcome: KeyOutcome | undefined,
  imports: Observation["imports"],
  folder: string,
): Uint8Array[] | undefined {
  const seen = certificate?.import === undefined ? undefined : imports[resolve(folder, certificate.import)];
  const facts = outcome?.certificate ?? outcome?.asIssuer?.certificate;
  if (seen?.state !== "present" || facts === undefined) return undefined;
  if (seen.der !== Buffer.from(facts.der).toString("base64")) return undefined;
  return seen.chain.map((der) => Buffer.from(der, "base64"));
}
