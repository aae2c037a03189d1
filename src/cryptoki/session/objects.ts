/**
 * Objects: finding, reading, changing, making (PKCS#11 3.1, 5.7).
 * @module
 */
import { type AttributeName, attributeKind, attributeName, CKA } from "../../spec/attributes.ts";
import type { URI_TYPES, UriType } from "../../spec/uri.ts";
import { type Attributes, attributeRow, fromPort, type NamedValue, toTemplate } from "../attributes.ts";
import { failedWith, KeywrightError } from "../errors.ts";
import type { Attribute, Ulong } from "../port.ts";
import { formatUri, objectUri } from "../uri.ts";
import { ObjectIdentity, READ_WITH_USE } from "./identity.ts";
import { isGone, ObjectLostError } from "./lost.ts";
import type { SessionPool } from "./pool.ts";
import { Search } from "./search.ts";
import type { Session } from "./session.ts";

/** What was read: an attribute that the object does not have, or that is sensitive, is absent. */
export type AttributesRead<N extends AttributeName> = { readonly [K in N]?: NamedValue<(typeof CKA)[K][1]> };

/** No object, or more than one, is what was asked for. */
export class ObjectNotFoundError extends KeywrightError {
  override readonly code = "ERR_OBJECT_NOT_FOUND";
  readonly candidates: readonly string[];

  constructor(wanted: string, token: string, candidates: readonly string[]) {
    super(`${candidates.length === 0 ? "no object" : `${candidates.length} objects`} in ${token} matches ${wanted}`, {
      hints:
        candidates.length === 0 ? [] : ["say which is meant, by id or by label:", ...candidates.map((c) => `  ${c}`)],
    });
    this.candidates = candidates;
  }
}

/** An object in a token, as one session sees it. */
export class TokenObject {
  readonly session: Session;
  readonly #identity: ObjectIdentity;
  #handle: Ulong;
  /** Which making of the session the handle is of. */
  #making: number;
  #wantsPin: Promise<boolean> | undefined;

  /** @internal Objects come from a Session. */
  constructor(session: Session, handle: Ulong, identity = new ObjectIdentity(), making = session.making) {
    this.session = session;
    this.#handle = handle;
    this.#identity = identity;
    this.#making = making;
  }

  /** Its handle; another one after the session was made anew. */
  get handle(): Ulong {
    return this.#handle;
  }

  /** @internal Whether the handle is of the session as it is now. */
  get isCurrent(): boolean {
    return this.#making === this.session.making;
  }

  /** @internal Finds the object again in a session that was made anew. @throws ObjectLostError */
  async findAgain(): Promise<void> {
    const { making } = this.session;
    this.#handle = await findAgain(this.session, this.#identity);
    this.#making = making;
  }

  /**
   * Reads attributes in one call. One that the object does not have, or that may not leave the token, is absent.
   * @throws AttributeError for a name that the table does not have; CryptokiError for any other failure
   */
  async get<N extends AttributeName>(...names: N[]): Promise<AttributesRead<N>> {
    const read = await this.#read(names.map((name) => attributeRow(name)[0]));
    return Object.fromEntries(
      read.map(({ type, value }) => [attributeName(type), fromPort(attributeKind(type), value)] as const),
    ) as AttributesRead<N>;
  }

  #read(types: readonly number[]): Promise<Attribute[]> {
    return this.session.run([this], () => this.#readNow(types));
  }

  async #readNow(types: readonly number[]): Promise<Attribute[]> {
    const requests = types.map((type) => ({ type }));
    const args = { session: this.session.handle, object: this.#handle, requests };
    const { values } = await this.session.call("C_GetAttributeValue", args);
    const read = values.values.flatMap(({ type, value }) => (value === undefined ? [] : [{ type, value }]));
    this.#identity.learn(read);
    return read;
  }

  async set(attributes: Attributes): Promise<void> {
    const template = toTemplate(attributes);
    await this.session.runOnce([this], () =>
      this.session.call("C_SetAttributeValue", { session: this.session.handle, object: this.#handle, template }),
    );
    this.#identity.change(template);
  }

  /** A copy with other attributes (5.7.2). */
  async copy(attributes: Attributes): Promise<TokenObject> {
    const template = toTemplate(attributes);
    return made(this.session, this.#identity.copied(template), [this], async () => {
      const args = { session: this.session.handle, object: this.#handle, template };
      return (await this.session.call("C_CopyObject", args)).copy;
    });
  }

  async destroy(): Promise<void> {
    await this.session.runOnce([this], () =>
      this.session.call("C_DestroyObject", { session: this.session.handle, object: this.#handle }),
    );
  }

  /** The object's URI, as text. */
  async uri(): Promise<string> {
    const read = await this.#read([CKA.CKA_CLASS[0], CKA.CKA_LABEL[0], CKA.CKA_ID[0]]);
    const [kind, label, id] = [CKA.CKA_CLASS, CKA.CKA_LABEL, CKA.CKA_ID].map(
      ([wanted]) => read.find(({ type }) => type === wanted)?.value,
    );
    const object = {
      // As the token has it: a label that is not UTF-8 must be found by the URI too.
      ...(label instanceof Uint8Array ? { label } : {}),
      ...(id instanceof Uint8Array ? { id } : {}),
      type: kind === undefined ? undefined : uriType(fromPort("class", kind) as NamedValue<"class">),
    };
    return formatUri(objectUri(this.session.token.info, object));
  }

  /** Whether each use of this key wants the PIN (CKA_ALWAYS_AUTHENTICATE); read once. */
  alwaysAuthenticate(): Promise<boolean> {
    return this.session.run([this], () => this.wantsPin());
  }

  /** @internal The same within an operation, which is repeated as a whole. */
  wantsPin(): Promise<boolean> {
    const read = this.#wantsPin ?? this.#readForUse();
    this.#wantsPin = read;
    read.catch(() => {
      this.#wantsPin = undefined;
    });
    return read;
  }

  /** Reads along what finds the key again once its session is gone, when it is too late to ask. */
  async #readForUse(): Promise<boolean> {
    const wanted = CKA.CKA_ALWAYS_AUTHENTICATE[0];
    const along = this.session.isReconnecting ? READ_WITH_USE : [];
    const read = await this.#readNow([wanted, ...along]).catch((error: unknown) => {
      // A module that refuses to tell all of it at once is not asked for more than it has to tell.
      if (along.length === 0 || isGone(error)) throw error;
      return this.#readNow([wanted]);
    });
    return read.some(({ type, value }) => type === wanted && value === true);
  }
}

/** The `type` of a URI for an object class; undefined for a class that has none. */
export function uriType(objectClass: NamedValue<"class"> | undefined): UriType | undefined {
  const types = {
    CKO_PRIVATE_KEY: "private",
    CKO_PUBLIC_KEY: "public",
    CKO_CERTIFICATE: "cert",
    CKO_SECRET_KEY: "secret-key",
    CKO_DATA: "data",
  } as const satisfies Record<string, keyof typeof URI_TYPES>;
  return typeof objectClass === "string" ? types[objectClass as keyof typeof types] : undefined;
}

/**
 * Finds objects. The search has a PKCS#11 session of its own, so that the caller may use this one while iterating; it
 * ends (C_FindObjectsFinal) however the iteration ends.
 */
export async function* findObjects(session: Session, match: Attributes): AsyncGenerator<TokenObject> {
  const template = toTemplate(match);
  // Nothing was told yet, so it may begin twice.
  const { search, first } = await session.run([], async () => {
    const begun = await Search.begin(session, template);
    try {
      return { search: begun, first: await begun.next() };
    } catch (error) {
      await begun.end();
      throw error;
    }
  });
  try {
    const next = () => session.run([], () => search.next(), UNDER_WAY);
    for (let batch = first; batch.length > 0; batch = await next()) {
      for (const handle of batch) {
        yield new TokenObject(session, handle, new ObjectIdentity().learn(template), search.making);
      }
    }
  } finally {
    await search.end();
  }
}

const UNDER_WAY = () => "a search was under way, and is to be begun again";

/** The one object that matches; more than one is an error, never the first. */
export async function findOne(session: Session, match: Attributes): Promise<TokenObject> {
  const template = toTemplate(match);
  const found = await session.run([], async () => {
    const { making } = session;
    const handles = await Search.all(session, template);
    const identity = () => (handles.length === 1 ? ObjectIdentity.sole(template) : new ObjectIdentity());
    return handles.map((handle) => new TokenObject(session, handle, identity(), making));
  });
  if (found.length === 1) return found[0]!;
  const wanted = Object.entries(match)
    .map(
      ([name, value]) => `${name}=${value instanceof Uint8Array ? `0x${Buffer.from(value).toString("hex")}` : value}`,
    )
    .join(", ");
  throw new ObjectNotFoundError(wanted, session.token.uri, await Promise.all(found.map((object) => object.uri())));
}

/** The handle of an object in a session that was made anew. @throws ObjectLostError unless exactly one may be it */
async function findAgain(session: Session, identity: ObjectIdentity): Promise<Ulong> {
  const { label, id, class: kind, template } = identity;
  const type = kind === undefined ? undefined : uriType(fromPort("class", kind) as NamedValue<"class">);
  const uri = formatUri(objectUri(session.token.info, { ...(label && { label }), ...(id && { id }), type }));
  const lost = (why: string, hint: string) =>
    new ObjectLostError(`the session was made anew, and the object ${uri} is lost: ${why}`, { hints: [hint] });
  if (identity.isOfSession) throw lost("it was in the session alone (CKA_TOKEN false)", "make it again");
  if (template === undefined) throw lost("nothing was read that tells it from others", "find it again");
  const { pool } = session;
  const handles = await Search.all(session, template);
  const same: Ulong[] = [];
  for (const object of handles) if (identity.isSame(await readFor(pool, object, identity.toCompare))) same.push(object);
  if (same.length === 1) return same[0]!;
  throw lost(same.length === 0 ? "the token has none like it any more" : `${same.length} are like it`, "find it again");
}

async function readFor(
  pool: SessionPool,
  object: Ulong,
  types: readonly number[],
): Promise<Map<number, Attribute["value"] | undefined>> {
  if (types.length === 0) return new Map();
  const requests = types.map((type) => ({ type }));
  const { values } = await pool.call("C_GetAttributeValue", { session: pool.main, object, requests });
  return new Map(values.values.map(({ type, value }) => [type, value]));
}

/** Runs what makes an object. */
export function made(
  session: Session,
  identity: ObjectIdentity,
  objects: readonly TokenObject[],
  make: () => Promise<Ulong>,
): Promise<TokenObject> {
  return session.runOnce(objects, async () => {
    const { making } = session;
    return new TokenObject(session, await make(), identity, making);
  });
}

export async function createObject(session: Session, attributes: Attributes): Promise<TokenObject> {
  const template = toTemplate(attributes);
  return made(
    session,
    ObjectIdentity.made(template),
    [],
    async () => (await session.call("C_CreateObject", { session: session.handle, template })).object,
  );
}

/** Destroys an object that may be gone already. */
export async function destroyIfThere(object: TokenObject): Promise<void> {
  try {
    await object.destroy();
  } catch (error) {
    if (!failedWith(error, "CKR_OBJECT_HANDLE_INVALID")) throw error;
  }
}
