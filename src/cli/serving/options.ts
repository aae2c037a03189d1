/**
 * What the command line says of tokens that are handed to other programs.
 * @module
 */
import { availableParallelism } from "node:os";
import { flag, offering, text } from "../command.ts";
import { UsageError } from "../errors.ts";
import { TARGET_OPTIONS, type TargetInput } from "../target.ts";

const SYNC = ["each", "checkpoint", "never"] as const;

/** Options of every command that serves tokens: which, who guards them, and what is told. */
export const SERVING_OPTIONS = {
  ...TARGET_OPTIONS,
  policy: text("FILE", "which clients may use which keys, for what and when (docs/policy.md)"),
  confirm: flag("ask at this terminal before a key is used"),
  confirmCommand: text("COMMAND", "ask by this command instead: its exit code 0 is yes"),
  confirmSeconds: text("N", "how long a yes holds for the same client, key and operation (default: 0, this use alone)"),
  audit: text("FILE", "record each use of a key (docs/audit.md)"),
  auditKey: text("KEY", "sign the audit log's checkpoints: a declared name or a URI of a key in a token"),
  auditEvery: text("N", "entries between two checkpoints, at most (default: 1000)"),
  auditSync: offering(SYNC, text("WHEN", `when the disk has to have it: ${SYNC.join(", ")} (default: checkpoint)`)),
  workers: text("N", "threads that connections are spread over (default: one for each core)"),
  verbose: flag("tell what clients were refused, and why, and the audit log's checkpoints"),
} as const;

export interface ServingInput extends TargetInput {
  readonly policy: string | undefined;
  readonly confirm: boolean;
  readonly confirmCommand: string | undefined;
  readonly confirmSeconds: string | undefined;
  readonly audit: string | undefined;
  readonly auditKey: string | undefined;
  readonly auditEvery: string | undefined;
  readonly auditSync: string | undefined;
  readonly workers: string | undefined;
  readonly verbose: boolean;
}

/** A whole number that an option says. @throws UsageError */
export function numberOf(
  option: string,
  given: string | undefined,
  least: number,
  most: number,
  usual: number,
): number {
  if (given === undefined) return usual;
  const number = Number(given);
  if (/^\d+$/.test(given) && number >= least && number <= most) return number;
  throw new UsageError(`--${option} takes a number from ${least} to ${most}, not ${JSON.stringify(given)}`);
}

/** How many threads. @throws UsageError */
export function workersOf({ workers }: ServingInput, usual: number = availableParallelism()): number {
  return numberOf("workers", workers, 1, 64, usual);
}

/** @throws UsageError */
export function syncOf({ auditSync }: ServingInput): (typeof SYNC)[number] {
  const found = SYNC.find((one) => one === (auditSync ?? "checkpoint"));
  if (found !== undefined) return found;
  throw new UsageError(`--audit-sync takes ${SYNC.join(", ")}, not ${JSON.stringify(auditSync)}`);
}
