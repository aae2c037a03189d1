/**
 * Whether a policy names keys that there are.
 * @module
 */
import { toHex } from "../../codec/bytes.ts";
import type { Cryptoki, Structure, Ulong } from "../../cryptoki/port.ts";
import { formatUri } from "../../cryptoki/uri.ts";
import type { Fault } from "../../schema/fields.ts";
import { nearest } from "../../schema/nearest.ts";
import { isSecretKey, type ObjectFacts, readFacts } from "../facts.ts";
import { covers, type Grant } from "./grants.ts";
import { type Policy, PolicyError } from "./policy.ts";
import { findVisible } from "./search.ts";

/** An object of a token. */
export interface SeenObject {
  readonly facts: ObjectFacts;
  readonly token: Structure<"tokenInfo">;
}

/** Every object that a session sees: of a session without a login, none that is private. */
export async function seenObjects(cryptoki: Cryptoki, session: Ulong): Promise<readonly SeenObject[]> {
  const { info } = await cryptoki.call("C_GetSessionInfo", { session });
  const { info: token } = await cryptoki.call("C_GetTokenInfo", { slot: info.slotID });
  const objects = await findVisible(cryptoki, { session, template: [] }, () => true);
  const seen: SeenObject[] = [];
  for (const object of objects) {
    const facts = await readFacts(cryptoki, session, object);
    if (facts !== undefined) seen.push({ facts, token });
  }
  return seen;
}

/**
 * Refuses a policy that names a key which no token has: it is mistyped, or would grant more than was meant one day.
 * @param seen the objects of every token that is served
 * @throws PolicyError with line, path and the nearest label
 */
export function requireKnownKeys(policy: Policy, seen: readonly SeenObject[]): void {
  const labels = [...new Set(seen.map(({ facts }) => new TextDecoder().decode(facts.label)))];
  const faults: Fault[] = policy.clients
    .flatMap(({ keys }) => keys)
    .filter((grant) => !seen.some(({ facts, token }) => covers(grant, facts, token)))
    .map((grant) => {
      const label = labelOf(grant);
      const known = label === undefined ? undefined : nearest(label, labels);
      const isKnown = known === label;
      const keys = seen
        .filter(({ facts }) => isSecretKey(facts))
        .map(({ facts }) => new TextDecoder().decode(facts.label));
      const hint =
        known !== undefined && !isKnown
          ? `did you mean ${known}?`
          : `keys that there are: ${[...new Set(keys)].join(", ") || "none; private keys are seen after a login"}`;
      return policy.faultAt(grant.path, `the token has no key ${text(grant)}`, hint);
    });
  if (faults.length > 0) throw new PolicyError(policy.file, faults);
}

function labelOf({ label, uri }: Grant): string | undefined {
  if (label !== undefined) return new TextDecoder().decode(label);
  const object = uri?.path.object;
  return typeof object === "string" ? object : undefined;
}

function text({ label, id, uri }: Grant): string {
  return [
    ...(label === undefined ? [] : [`of label ${JSON.stringify(new TextDecoder().decode(label))}`]),
    ...(id === undefined ? [] : [`of id 0x${toHex(id)}`]),
    ...(uri === undefined ? [] : [`of URI ${formatUri(uri)}`]),
  ].join(", ");
}
