/**
 * Where every key stands: the declared ones, and those that a token holds and nobody declared.
 * @module
 */
import { resolve } from "node:path";
import { formatUri, objectUri, parseUri } from "../cryptoki/uri.ts";
import { formatName } from "../x509/names.ts";
import type { Declaration } from "./declaration.ts";
import { typeOf } from "./declaration.ts";
import { finalIdentity, standing } from "./identities.ts";
import type { Observation, SeenObject } from "./observation.ts";
import { certificateFacts } from "./plan/certificate.ts";
import { newest } from "./plan/disentangle.ts";
import { keyUri } from "./plan/publish.ts";
import type { Plan, Step } from "./plan/steps.ts";

/** A declared key. */
export interface KeyStatus {
  readonly key: string;
  readonly token: string;
  readonly type: string;
  /**
   * `present`, `expired` (its certificate has ended and none is to follow), `missing`, `pending` (a plan has steps for it),
   * `refused`, `waiting`, `unreadable`.
   */
  readonly state: "present" | "expired" | "missing" | "pending" | "refused" | "waiting" | "unreadable";
  readonly uri?: string;
  readonly subject?: string;
  /** When its certificate ends, ISO 8601. */
  readonly notAfter?: string;
  readonly files: readonly string[];
  /** What the plan would do, or why it refuses. */
  readonly remark?: string;
  /** What to do about a refusal, and what it costs. */
  readonly hints?: readonly string[];
}

/** An object that no declaration names; never touched. */
export interface Undeclared {
  readonly token: string;
  readonly class: SeenObject["class"];
  readonly uri: string;
  readonly type?: string;
  /** The declared key that it was replaced by, for archived ones. */
  readonly replacedBy?: string;
}

export interface Status {
  readonly keys: readonly KeyStatus[];
  readonly undeclared: readonly Undeclared[];
}

/** Makes the status from what was seen and what would be done. Pure. */
export function statusOf(declaration: Declaration, observation: Observation, plan: Plan): Status {
  return {
    keys: Object.values(declaration.keys).map((key) => keyStatus(declaration, observation, plan, key.name)),
    undeclared: undeclared(declaration, observation),
  };
}

function keyStatus(declaration: Declaration, observation: Observation, plan: Plan, name: string): KeyStatus {
  const key = declaration.keys[name]!;
  const folder = resolve(declaration.file, "..");
  const seen = observation.tokens[key.token];
  const steps = plan.steps.filter((step) => "key" in step && step.key === name);
  const refusal = steps.find((step): step is Extract<Step, { action: "refuse" }> => step.action === "refuse");
  const base = {
    key: name,
    token: key.token,
    type: typeOf(key),
    ...(refusal === undefined || refusal.hints.length === 0 ? {} : { hints: refusal.hints }),
    files: (key.certificate?.publish ?? []).map(({ path }) => resolve(folder, path)),
  };
  if (seen?.state !== "present") {
    const state = seen?.state === "unreadable" ? "unreadable" : "missing";
    return { ...base, state, ...(refusal === undefined ? {} : { remark: refusal.reason }) };
  }
  const mine = seen.objects.filter((object) => standing(object, key, true) === "final");
  const certificate = newest(mine.filter((object) => object.class === "certificate"));
  const facts = certificateFacts(certificate);
  const waiting = steps.find(
    (step): step is Extract<Step, { action: "wait" | "skip" }> => step.action === "wait" || step.action === "skip",
  );
  const changes = steps.filter(({ action }) => !["keep", "wait", "skip", "refuse"].includes(action));
  const reason = changes.flatMap((step) => ("reason" in step ? [step.reason] : []))[0];
  const hasEnded = steps.some((step) => step.action === "keep" && step.ended === true);
  const ended = hasEnded ? "its certificate has ended, and no renewBefore is declared" : undefined;
  const remark = refusal?.reason ?? waiting?.reason ?? reason ?? ended;
  return {
    ...base,
    state:
      refusal !== undefined
        ? "refused"
        : changes.length > 0
          ? mine.some((object) => object.class === "private")
            ? "pending"
            : "missing"
          : waiting !== undefined
            ? "waiting"
            : hasEnded
              ? "expired"
              : "present",
    uri: keyUri(seen.uri, finalIdentity(key)),
    ...(facts === undefined ? {} : { subject: formatName(facts.subject), notAfter: facts.notAfter.toISOString() }),
    ...(remark === undefined ? {} : { remark }),
  };
}

const URI_TYPE = { private: "private", public: "public", certificate: "cert" } as const;

function undeclared(declaration: Declaration, observation: Observation): Undeclared[] {
  return Object.entries(observation.tokens).flatMap(([token, seen]) => {
    if (seen.state !== "present") return [];
    const keys = Object.values(declaration.keys).filter((key) => key.token === token);
    return seen.objects.flatMap((object): Undeclared[] => {
      const standings = keys.map((key) => ({ key, at: standing(object, key, true) }));
      if (standings.some(({ at }) => at === "final" || at === "new")) return [];
      const archived = standings.find(({ at }) => at === "archived");
      const { path } = parseUri(seen.uri);
      const info = {
        label: path.token ?? "",
        manufacturerID: path.manufacturer ?? "",
        model: path.model ?? "",
        serialNumber: path.serial ?? "",
      };
      const uri = objectUri(info, {
        label: object.label,
        id: Buffer.from(object.id, "hex"),
        type: URI_TYPE[object.class],
      });
      return [
        {
          token,
          class: object.class,
          uri: formatUri(uri),
          ...(object.type === undefined ? {} : { type: object.type }),
          ...(archived === undefined ? {} : { replacedBy: archived.key.name }),
        },
      ];
    });
  });
}
