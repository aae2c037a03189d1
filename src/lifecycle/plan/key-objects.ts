/**
 * The objects of a key in its token, by where they stand; and what of them is no key any more.
 * @module
 */
import { familyNamed } from "../../families/families.ts";
import type { KeyDeclaration } from "../declaration.ts";
import { newIdentity, type Standing, standing } from "../identities.ts";
import type { Observation, SeenObject, SeenPresent } from "../observation.ts";
import type { KeyObjects } from "./disentangle.ts";
import { Refusal } from "./refusal.ts";

/** Where they are looked for. */
export interface ObjectsContext {
  readonly key: KeyDeclaration;
  readonly token: Pick<SeenPresent, "family" | "loggedIn" | "objects">;
  readonly observation: Observation;
}

/** By id, and by label with and without what is added to that of a replacement or of what was replaced. */
type Index = ReadonlyMap<string, readonly SeenObject[]>;

/** A token's objects are gone through once, however many keys are declared. */
const indexes = new WeakMap<readonly SeenObject[], Index>();

function indexOf(objects: readonly SeenObject[]): Index {
  const known = indexes.get(objects);
  if (known !== undefined) return known;
  const index = new Map<string, SeenObject[]>();
  for (const object of objects) {
    const { id, label } = object;
    for (const name of new Set([`id ${id}`, `label ${label}`, `label ${label.replace(/~[^~]*$/, "")}`])) {
      const there = index.get(name);
      if (there === undefined) index.set(name, [object]);
      else there.push(object);
    }
  }
  indexes.set(objects, index);
  return index;
}

/** The objects of which {@link standing} says anything but "other", and perhaps more. */
function near(key: KeyDeclaration, objects: readonly SeenObject[]): Iterable<SeenObject> {
  const index = indexOf(objects);
  const names = [`id ${newIdentity(key).id}`, `id ${key.id}`, `label ${key.label}`];
  return new Set(names.flatMap((name) => index.get(name) ?? []));
}

/** @throws Refusal when another key has the declared id or label */
export function keyObjects({ key, token, observation }: ObjectsContext): KeyObjects {
  const { labels } = familyNamed(token.family);
  const by: Record<Standing, SeenObject[]> = { final: [], new: [], archived: [], conflict: [], other: [] };
  for (const object of near(key, token.objects)) by[standing(object, key, labels)].push(object);
  const conflict = by.conflict[0];
  if (conflict !== undefined) {
    const taken = conflict.id === key.id ? `id 0x${conflict.id}` : `label ${JSON.stringify(conflict.label)}`;
    throw new Refusal(
      `its ${taken} belongs to another private key in the token (id 0x${conflict.id}, label ${JSON.stringify(conflict.label)})`,
      ["choose another id and label, or rename the other key: keywright key rename"],
    );
  }
  return { final: by.final, fresh: by.new, archived: by.archived, replacement: observation.replacing[key.name] };
}

/** What is left of a replacement that lost its private key before it took the key's place. */
export function leftoversOf({ final, fresh }: KeyObjects, keyId: string): readonly SeenObject[] {
  const privates = [...final, ...fresh].filter((object) => object.class === "private");
  const isWhole = privates.some(
    ({ id, publicKey }) => id !== keyId || publicKey === undefined || fresh.some((one) => one.publicKey === publicKey),
  );
  return isWhole ? [] : fresh;
}

/** Whether all that is left is of a key that an earlier run was destroying to make room for another. */
export function isRemains({ final, replacement }: KeyObjects): boolean {
  if (replacement === undefined || replacement.by !== undefined) return false;
  return final.every(({ publicKey }) => replacement.replaces.includes(publicKey ?? ""));
}

/** Why the objects of a key cannot be told. */
export function unreadable(context: ObjectsContext, { final }: KeyObjects): Refusal {
  if (!context.token.loggedIn) {
    return new Refusal("private keys cannot be seen without the user PIN", [
      "declare where it comes from: pin: { file: … }",
    ]);
  }
  const broken = final.find((object) => object.unreadable !== undefined);
  return new Refusal(`its certificate in the token cannot be read: ${broken?.unreadable}`, [
    "delete it if it is broken: the key gets a new one",
  ]);
}
