/**
 * Objects: finding, reading, changing, making (PKCS#11 3.1, 5.7).
 * @module
 */
import { type AttributeName, attributeKind, attributeName, CKA } from "../../spec/attributes.ts";
import { hasFlag, SESSION_FLAGS } from "../../spec/flags.ts";
import type { URI_TYPES, UriType } from "../../spec/uri.ts";
import { type Attributes, attributeRow, fromPort, type NamedValue, toTemplate } from "../attributes.ts";
import { failedWith, KeywrightError } from "../errors.ts";
import type { Ulong } from "../port.ts";
import { formatUri, objectUri } from "../uri.ts";
import type { Session } from "./session.ts";

/** How many handles one C_FindObjects asks for. */
const BATCH = 128;

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
  readonly handle: Ulong;
  #alwaysAuthenticate: Promise<boolean> | undefined;

  constructor(session: Session, handle: Ulong) {
    this.session = session;
    this.handle = handle;
  }

  /**
   * Reads attributes in one call. One that the object does not have, or that may not leave the token, is absent.
   * @throws AttributeError for a name that the table does not have; CryptokiError for any other failure
   */
  async get<N extends AttributeName>(...names: N[]): Promise<AttributesRead<N>> {
    const requests = names.map((name) => ({ type: attributeRow(name)[0] }));
    const { values } = await this.session.call("C_GetAttributeValue", {
      session: this.session.handle,
      object: this.handle,
      requests,
    });
    const read = values.values.flatMap(({ type, value }) =>
      value === undefined ? [] : [[attributeName(type), fromPort(attributeKind(type), value)] as const],
    );
    return Object.fromEntries(read) as AttributesRead<N>;
  }

  async set(attributes: Attributes): Promise<void> {
    const template = toTemplate(attributes);
    await this.session.call("C_SetAttributeValue", { session: this.session.handle, object: this.handle, template });
  }

  /** A copy with other attributes (5.7.2). */
  async copy(attributes: Attributes): Promise<TokenObject> {
    const template = toTemplate(attributes);
    const args = { session: this.session.handle, object: this.handle, template };
    return new TokenObject(this.session, (await this.session.call("C_CopyObject", args)).copy);
  }

  async destroy(): Promise<void> {
    await this.session.call("C_DestroyObject", { session: this.session.handle, object: this.handle });
  }

  /** The object's URI, as text. */
  async uri(): Promise<string> {
    const { values } = await this.session.call("C_GetAttributeValue", {
      session: this.session.handle,
      object: this.handle,
      requests: [CKA.CKA_CLASS, CKA.CKA_LABEL, CKA.CKA_ID].map(([type]) => ({ type })),
    });
    const [kind, label, id] = values.values.map(({ value }) => value);
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
    this.#alwaysAuthenticate ??= this.get("CKA_ALWAYS_AUTHENTICATE").then((a) => a.CKA_ALWAYS_AUTHENTICATE === true);
    return this.#alwaysAuthenticate;
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
  // As the SO no read-only session may exist (5.6.1), so the search takes the same kind as its parent.
  const { info } = await session.call("C_GetSessionInfo", { session: session.handle });
  const write = hasFlag(Number(info.flags), SESSION_FLAGS.CKF_RW_SESSION[0]);
  const flags = SESSION_FLAGS.CKF_SERIAL_SESSION[0] | (write ? SESSION_FLAGS.CKF_RW_SESSION[0] : 0);
  const own = await session.openOwn(flags);
  try {
    await session.call("C_FindObjectsInit", { session: own, template: toTemplate(match) });
    try {
      for (;;) {
        const { objects } = await session.call("C_FindObjects", { session: own, max: BATCH });
        if (objects.length === 0) break;
        for (const handle of objects) yield new TokenObject(session, handle);
      }
    } finally {
      if (session.isOpen) await session.call("C_FindObjectsFinal", { session: own });
    }
  } finally {
    await session.closeOwn(own);
  }
}

/** The one object that matches; more than one is an error, never the first. */
export async function findOne(session: Session, match: Attributes): Promise<TokenObject> {
  const found: TokenObject[] = [];
  for await (const object of findObjects(session, match)) found.push(object);
  if (found.length === 1) return found[0]!;
  const wanted = Object.entries(match)
    .map(
      ([name, value]) => `${name}=${value instanceof Uint8Array ? `0x${Buffer.from(value).toString("hex")}` : value}`,
    )
    .join(", ");
  throw new ObjectNotFoundError(wanted, session.token.uri, await Promise.all(found.map((object) => object.uri())));
}

export async function createObject(session: Session, attributes: Attributes): Promise<TokenObject> {
  const template = toTemplate(attributes);
  return new TokenObject(session, (await session.call("C_CreateObject", { session: session.handle, template })).object);
}

/** Destroys an object that may be gone already. */
export async function destroyIfThere(object: TokenObject): Promise<void> {
  try {
    await object.destroy();
  } catch (error) {
    if (!failedWith(error, "CKR_OBJECT_HANDLE_INVALID")) throw error;
  }
}
