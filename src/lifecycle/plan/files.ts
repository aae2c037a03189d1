/**
 * The files and the hook of a key: what is written, when, and that it can be.
 * @module
 */
import { dirname, resolve } from "node:path";
import type { Declaration, KeyDeclaration, PublishWhat } from "../declaration.ts";
import { finalIdentity } from "../identities.ts";
import type { Observation } from "../observation.ts";
import { type KeyOutcome, stopped } from "./outcome.ts";
import { type Chain, keyUri, needsIssuers, publishedContents, sha256 } from "./publish.ts";
import type { Step } from "./steps.ts";

/**
 * A key whose files cannot be written is refused before anything is done, for a new certificate that no program gets
 * would be worse than an old one.
 */
export function refuseUnwritable(
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
): Step[] {
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
