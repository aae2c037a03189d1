/**
 * What guards tokens that are served, and explains: the policy, the person who is asked, the audit log. There is one of
 * each for all connections, and it is kept here, whichever thread serves them.
 * @module
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { explainSystem } from "../../host/errors.ts";
import { AuditLog, type CheckpointSigner } from "../../layers/audit/log.ts";
import { askByCommand } from "../../layers/confirm/command.ts";
import { type Ask, Confirmer, questionText } from "../../layers/confirm/confirmer.ts";
import { StoredCounters } from "../../layers/policy/counters.ts";
import { requireKnownKeys, type SeenObject, seenObjects } from "../../layers/policy/known.ts";
import { type Policy, readPolicy } from "../../layers/policy/policy.ts";
import { splitWords } from "../../modules/address.ts";
import type { ServicePlan } from "../../serving/service.ts";
import type { WorkersHost } from "../../serving/workers.ts";
import { checkpointSigner } from "../checkpoints.ts";
import { CommandError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { namedKey } from "../named-key.ts";
import { chosenState } from "../surroundings.ts";
import { findTarget, withSession } from "../target.ts";
import { numberOf, type ServingInput, syncOf } from "./options.ts";
import type { ServedTokens } from "./tokens.ts";

/** What a command wants beside what the command line says. */
export interface GuardWishes {
  /** Whether clients may make tokens in blank slots. */
  readonly uninitialised?: boolean;
  /** Whether each call is shown. */
  readonly trace?: ServicePlan["trace"];
}

/** Everything that a server is started with. */
export interface Guarded {
  readonly plan: ServicePlan;
  readonly host: WorkersHost;
  /** Ends the audit log with a checkpoint. */
  close(): Promise<void>;
}

/** @throws PolicyError, HostError, UsageError before anything is served */
export async function guard(served: ServedTokens, input: ServingInput, wishes: GuardWishes, io: Io): Promise<Guarded> {
  const state = chosenState(input);
  const report = reporter(input.verbose, io);
  const policy = await policyOf(served, input, io);
  const confirmer = confirmerOf(input, io);
  const log = await auditOf(input, io);
  const counters = new StoredCounters(state);
  const warnOnce = oncePerMinute((message) => io.warn(message));
  return {
    plan: {
      offers: served.offers,
      state,
      unlock: served.isUnlocked,
      uninitialised: wishes.uninitialised === true,
      policy,
      others: input.policy !== undefined,
      confirm: confirmer !== undefined,
      audit: log !== undefined,
      trace: wishes.trace ?? (io.isDebugging ? { secrets: false } : undefined),
    },
    host: {
      pin: (place) => served.pin(place),
      count: (...of) => counters.take(...of),
      confirm: async (question, connection) =>
        confirmer !== undefined &&
        (confirmer.isRemembered(question, connection) || (await confirmer.confirm(question, connection))),
      async record(entry) {
        try {
          await log?.append(entry);
        } catch (error) {
          // Every use fails from now on, and clients are told that alone.
          warnOnce(`uses are refused: ${error instanceof Error ? error.message : String(error)}`);
          throw error;
        }
      },
      report,
      trace: ({ function: fn, result }) => io.debug(`${fn}: ${result}`),
    },
    async close() {
      await counters.close();
      await log?.close();
    },
  };
}

/** Tells the same once a minute at most. */
function oncePerMinute(tell: (message: string) => void): (message: string) => void {
  const told = new Map<string, number>();
  return (message) => {
    if (performance.now() - (told.get(message) ?? -Infinity) < 60_000) return;
    told.set(message, performance.now());
    tell(message);
  };
}

/** Tells what clients were refused, if that was asked for. */
function reporter(verbose: boolean, io: Io): WorkersHost["report"] {
  return (fault, error, hints) => {
    if (!verbose) return;
    io.tell(`keywright: ${fault}${error === "" ? "" : `: ${error}`}`);
    for (const hint of hints) io.tell(`keywright: hint: ${hint}`);
  };
}

async function policyOf(served: ServedTokens, input: ServingInput, io: Io): Promise<ServicePlan["policy"]> {
  if (input.policy === undefined) return served.keys.length === 0 ? undefined : keysAlone(served.keys);
  const file = resolve(input.policy);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new CommandError(`cannot read the policy ${file}: ${explainSystem(error)}`);
  }
  await requireKnown(await readPolicy(text, file), served, input, io);
  return { text, file };
}

/** Where keys are named, clients see those alone, use them as they can be used, and change nothing. */
function keysAlone(uris: readonly string[]): NonNullable<ServicePlan["policy"]> {
  const operations = ["sign", "verify", "encrypt", "decrypt", "derive", "wrap", "unwrap", "encapsulate", "decapsulate"];
  const keys = uris.map((uri) => ({ uri, operations }));
  return { text: JSON.stringify({ clients: { anyone: { anyone: true, keys } } }), file: "the keys that were named" };
}

/** Looks whether the policy's keys are there; private ones are seen where the user PIN is known and nobody has to type it. */
async function requireKnown(policy: Policy, served: ServedTokens, input: ServingInput, io: Io): Promise<void> {
  const seen: SeenObject[] = [];
  for (const [i, target] of served.targets.entries()) {
    const login = served.isUnlocked && served.offers[i]?.attended === false;
    await withSession(target, input, io, { login }, async (session) => {
      seen.push(...(await seenObjects({ call: (fn, args) => session.call(fn, args) }, session.handle)));
    });
  }
  requireKnownKeys(policy, seen);
}

function confirmerOf(input: ServingInput, io: Io): Confirmer | undefined {
  const { confirm, confirmCommand, confirmSeconds } = input;
  if (!confirm && confirmCommand === undefined) {
    if (confirmSeconds !== undefined) throw new UsageError("--confirm-seconds is for --confirm or --confirm-command");
    return undefined;
  }
  const rememberMs = numberOf("confirm-seconds", confirmSeconds, 0, 86_400, 0) * 1000;
  return new Confirmer({ ask: askOf(confirmCommand, io), rememberMs });
}

function askOf(command: string | undefined, io: Io): Ask {
  if (command !== undefined) {
    const [program, ...words] = splitWords(command);
    if (program === undefined) throw new UsageError("--confirm-command names no command");
    return askByCommand({ command: [program, ...words] });
  }
  if (!io.interactive) {
    throw new UsageError("--confirm asks at a terminal, and there is none", ["ask by a command: --confirm-command"]);
  }
  return (question) => io.confirm(`${questionText(question)}.`);
}

async function auditOf(input: ServingInput, io: Io): Promise<AuditLog | undefined> {
  if (input.audit === undefined) {
    if (input.auditKey !== undefined) throw new UsageError("--audit-key signs the log of --audit, which is not given");
    return undefined;
  }
  return AuditLog.open({
    path: resolve(input.audit),
    checkpointEvery: numberOf("audit-every", input.auditEvery, 1, 1_000_000, 1000),
    sync: syncOf(input),
    signer: input.auditKey === undefined ? undefined : await signerOf(input.auditKey, input, io),
    // The last one is made while the server ends, and matters most.
    witness: ({ log, n, hash }) => {
      if (input.verbose) io.tellLast(`keywright: checkpoint of the audit log: ${log} ${n}:${hash}`);
    },
    tell: (message) => io.warn(message),
  });
}

/** A key in a token that signs checkpoints; its token is opened for each. */
async function signerOf(word: string, input: ServingInput, io: Io): Promise<CheckpointSigner> {
  const target = await findTarget(word, input, io);
  const within = <T>(use: (signer: CheckpointSigner) => Promise<T>) =>
    withSession(target, input, io, {}, async (session) => {
      const { key } = await namedKey(session, target);
      return use(await checkpointSigner(session, key));
    });
  const { key, digest, pss } = await within(async (signer) => signer);
  return { key, digest, pss, sign: (data) => within((signer) => signer.sign(data)) };
}
