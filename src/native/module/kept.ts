/**
 * Parameters that a module may still write to after C_EncryptInit.
 *
 * By the standard a parameter is read at C_EncryptInit and then free. Modules that make the initialisation vector
 * themselves write it into CK_GCM_PARAMS, some only when they encrypt: into memory that has to be there still, and whose
 * contents the caller must get, or nobody can decrypt. So it stays as it is until the operation is over.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import type { Values } from "../../cryptoki/describe.ts";
import type { Awaitable, Mechanism, Ulong } from "../../cryptoki/port.ts";
import { Arena } from "./arena.ts";
import type { Calling } from "./calling.ts";
import { changedParameter } from "./parameters.ts";
import type { AnyReply } from "./plan.ts";

interface Kept {
  readonly arena: Arena;
  /** As the caller knows it by now. */
  readonly mechanism: Mechanism;
}

/** How many are kept; beyond that the oldest go. Only sessions that nobody closes get there. */
const MOST = 1000;

/** Where C_EncryptInit's plan has CK_MECHANISM: it is the only part of fixed size. */
const MECHANISM_AT = 0;

type Run = (calling: Calling) => Awaitable<AnyReply>;

/** The parameters of one library's encryptions, by session. */
export class KeptParameters {
  readonly #kept = new Map<Ulong, Kept>();

  /** Runs C_EncryptInit, and keeps its arena if the parameter is a structure, which may have pointers. */
  begin(calling: Calling, values: Values, run: Run): Awaitable<AnyReply> {
    const { session, mechanism } = values as { session: Ulong; mechanism: Mechanism | null };
    this.#kept.delete(session);
    const parameter = mechanism?.parameter;
    if (mechanism === null || typeof parameter !== "object" || parameter instanceof Uint8Array) return run(calling);
    let arena: Arena | undefined;
    const keeping: Calling = {
      invoke: calling.invoke,
      arena(space) {
        arena = new Arena(space);
        return arena;
      },
      keepsArena: true,
    };
    return after(
      () => run(keeping),
      (reply) => {
        const current = (reply.parameter as typeof parameter | undefined) ?? parameter;
        this.#kept.set(session, { arena: arena!, mechanism: { ...mechanism, parameter: current } });
        if (this.#kept.size > MOST) this.#kept.delete(this.#kept.keys().next().value!);
        return reply;
      },
    );
  }

  /** Runs a call that goes on with an encryption, and adds what the module changed to its reply. */
  proceed(calling: Calling, values: Values, run: Run): Awaitable<AnyReply> {
    const session = values.session as Ulong;
    const kept = this.#kept.get(session);
    if (kept === undefined) return run(calling);
    return after(
      () => run(calling),
      (reply) => {
        const parameter = changedParameter(kept.arena, MECHANISM_AT, kept.mechanism);
        if (parameter === undefined) return reply;
        this.#kept.set(session, { ...kept, mechanism: { ...kept.mechanism, parameter } });
        return { ...reply, parameter };
      },
    );
  }

  /** Forgets a session, or all. Its memory goes once nobody can write to it any more. */
  forget(session?: Ulong): void {
    if (session === undefined) this.#kept.clear();
    else this.#kept.delete(session);
  }
}
