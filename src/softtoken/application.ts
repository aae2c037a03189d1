/**
 * One application: its sessions, its handles and who is logged in. PKCS#11 3.1, 5.6.
 * @module
 */
import { state } from "./codes.ts";
import type { Lease, TokenKeys } from "./login.ts";
import type { TokenObject } from "./objects/object.ts";
import { Operations } from "./operations/state.ts";
import { refuse } from "./refusal.ts";
import type { Database } from "./store/database.ts";
import type { Owner } from "./store/objects.ts";
import type { Patience } from "./store/patience.ts";
import { findToken, type TokenRow } from "./store/tokens.ts";

/** How old a look at the store may be for a call that goes on with an operation, in ns: a millisecond. */
const LOOK_AGE = 1_000_000n;

/** What the options of softToken() come to. */
export interface Settings {
  readonly scryptCost: number;
  readonly soRecovery: boolean;
  readonly pinTries: number;
}

export interface Session {
  readonly handle: number;
  readonly token: OpenToken;
  readonly isReadWrite: boolean;
  /** Session objects that go when it is closed. */
  readonly objects: Set<number>;
  readonly operations: Operations;
}

export type Role = "public" | "user" | "so";

/** A token on which an application has sessions. Its generation is that of the first session's opening. */
export class OpenToken implements Owner {
  readonly slot: number;
  readonly serial: string;
  readonly generation: number;
  readonly sessions = new Set<Session>();
  /** Objects of sessions, by handle, in the order of their making. */
  readonly sessionObjects = new Map<number, TokenObject>();
  /** Token objects that were decoded, by handle. */
  readonly cache = new Map<number, TokenObject>();
  /** Another process made the token anew, or removed it. */
  isRemoved = false;
  /** Counts logins, so that handles of private objects end with the login. */
  logins = 0;
  #lease: Lease | undefined;
  #role: Role = "public";

  constructor(row: TokenRow) {
    this.slot = row.slot;
    this.serial = row.serial;
    this.generation = row.generation;
  }

  get role(): Role {
    return this.#role;
  }

  get lease(): Lease | undefined {
    return this.#lease;
  }

  get keys(): TokenKeys | undefined {
    return this.#lease?.keys;
  }

  login(role: "user" | "so", lease: Lease): void {
    this.#role = role;
    this.#lease = lease;
    this.logins += 1;
    // What was read without a login was read without looking at its MAC.
    this.#forget(() => true, this.cache);
  }

  /** 5.6.9: private objects are gone from sight, and private session objects are destroyed. */
  logout(): void {
    this.#forget(() => true, this.cache);
    this.#forget((object) => object.isPrivate, this.sessionObjects);
    for (const session of this.sessions) session.operations.endAll();
    this.#role = "public";
    this.#lease?.release();
    this.#lease = undefined;
  }

  forget(handle: number): void {
    for (const objects of [this.cache, this.sessionObjects]) {
      objects.get(handle)?.dispose();
      objects.delete(handle);
    }
  }

  #forget(which: (object: TokenObject) => boolean, objects: Map<number, TokenObject>): void {
    for (const [handle, object] of objects) {
      if (!which(object)) continue;
      object.dispose();
      objects.delete(handle);
    }
  }
}

export class Application {
  readonly db: Database;
  readonly patience: Patience;
  readonly settings: Settings;
  readonly sessions = new Map<number, Session>();
  readonly tokens = new Map<number, OpenToken>();
  readonly #initialized: Set<Application>;
  #lastHandle = 0;
  #epoch = -1;
  #lookedAt = 0n;

  /** @param initialized where it stands from C_Initialize to C_Finalize, and not longer: a server opens many */
  constructor(patience: Patience, settings: Settings, initialized: Set<Application>) {
    this.db = patience.db;
    this.patience = patience;
    this.settings = settings;
    this.#initialized = initialized;
  }

  get isInitialized(): boolean {
    return this.#initialized.has(this);
  }

  initialize(): void {
    this.#initialized.add(this);
  }

  /** A number that was not given out before in this application. */
  nextHandle(): number {
    this.#lastHandle += 1;
    return this.#lastHandle;
  }

  /**
   * The session of a handle, after a look at whether the store was changed by somebody else and the token is still the
   * same: a token made anew elsewhere ends every operation, also those under way.
   * @throws Refusal CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_REMOVED
   */
  session(handle: number | bigint): Session {
    const session = this.sessions.get(handle as number);
    if (session === undefined) return refuse("CKR_SESSION_HANDLE_INVALID");
    this.refresh();
    if (session.token.isRemoved) return refuse("CKR_DEVICE_REMOVED");
    return session;
  }

  /**
   * The session of a call that goes on with an operation. A look of less than a millisecond ago will do, so that signing
   * does not pay for two: what another process did since is as good as done at the same moment.
   * @throws Refusal CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_REMOVED
   */
  ongoing(handle: number | bigint): Session {
    const session = this.sessions.get(handle as number);
    const isRecent = this.db.lastEpoch === this.#epoch && process.hrtime.bigint() - this.#lookedAt < LOOK_AGE;
    return session !== undefined && isRecent && !session.token.isRemoved ? session : this.session(handle);
  }

  /** The state of the store that this application knows. */
  get epoch(): number {
    return this.#epoch;
  }

  refresh(): void {
    const epoch = this.db.epoch();
    // Not performance.now(), as fast, whose module takes half a millisecond to load.
    this.#lookedAt = process.hrtime.bigint();
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    for (const token of this.tokens.values()) {
      const row = findToken(this.db, token.slot);
      if (row?.serial === token.serial && row.generation === token.generation) continue;
      token.logout();
      token.isRemoved = true;
      this.tokens.delete(token.slot);
    }
  }

  openSession(row: TokenRow, isReadWrite: boolean): Session {
    let token = this.tokens.get(row.slot);
    if (token === undefined) {
      token = new OpenToken(row);
      this.tokens.set(row.slot, token);
    }
    const session: Session = {
      handle: this.nextHandle(),
      token,
      isReadWrite,
      objects: new Set(),
      operations: new Operations(),
    };
    token.sessions.add(session);
    this.sessions.set(session.handle, session);
    return session;
  }

  closeSession(session: Session): void {
    const { token } = session;
    session.operations.endAll();
    for (const handle of session.objects) token.forget(handle);
    token.sessions.delete(session);
    this.sessions.delete(session.handle);
    if (token.sessions.size > 0) return;
    // 5.6.2: with the last session of a token goes its login.
    token.logout();
    if (this.tokens.get(token.slot) === token) this.tokens.delete(token.slot);
  }

  /** Ends everything. */
  finalize(): void {
    for (const session of [...this.sessions.values()]) this.closeSession(session);
    this.#initialized.delete(this);
  }
}

/** CKS_… of a session (5.6.5). */
export function sessionState(session: Session): number {
  const { role } = session.token;
  if (role === "so") return state.RW_SO_FUNCTIONS;
  if (role === "user") return session.isReadWrite ? state.RW_USER_FUNCTIONS : state.RO_USER_FUNCTIONS;
  return session.isReadWrite ? state.RW_PUBLIC_SESSION : state.RO_PUBLIC_SESSION;
}
