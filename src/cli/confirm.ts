/**
 * Commands that destroy something say what, and ask.
 * @module
 */
import { flag } from "./command.ts";
import { NotConfirmedError } from "./errors.ts";
import type { Io } from "./io.ts";

export const YES_OPTION = { yes: flag("do not ask") } as const;

/**
 * Shows what would be destroyed and asks. Without a terminal, `--yes` has to say so.
 * @throws NotConfirmedError when nobody said yes
 */
export async function confirmDestruction(
  what: string,
  lines: readonly string[],
  input: { readonly yes: boolean },
  io: Io,
): Promise<void> {
  io.tell(`${what}:`);
  for (const line of lines) io.tell(`  ${line}`);
  if (input.yes) return;
  if (!io.interactive) throw new NotConfirmedError(what);
  if (!(await io.confirm("This cannot be undone."))) throw new NotConfirmedError(what, true);
}
