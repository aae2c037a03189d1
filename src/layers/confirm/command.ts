/**
 * Asking by a command: a pinentry, a notification with buttons, a script. Its exit code 0 is yes, anything else is no.
 * @module
 */
import { readVariables, SCREEN } from "../../host/environment.ts";
import { run } from "../../host/processes.ts";
import { visible } from "../words.ts";
import { type Ask, type Question, questionText } from "./confirmer.ts";

export interface AskCommandOptions {
  /** The program and its arguments. */
  readonly command: readonly [string, ...string[]];
  /** The program is ended after this time, and the answer is no; 60 000 by default. */
  readonly timeoutMs?: number;
}

/** What leads to the person; everything else of our environment is kept from the program. */
const PERSON = [...SCREEN, "DBUS_SESSION_BUS_ADDRESS", "GPG_TTY"];

/** @throws HostError when the program cannot be started */
export function askByCommand({ command, timeoutMs = 60_000 }: AskCommandOptions): Ask {
  const [program, ...words] = command;
  return async (question) => {
    const { status } = await run(program, {
      arguments: words,
      environment: environmentOf(question),
      input: `${plain(questionText(question))}\n`,
      output: "show",
      timeoutMs,
    });
    return status === 0;
  };
}

function environmentOf({ client, key, operation, mechanism = "", ...rest }: Question): Record<string, string> {
  const question = { client, key, operation, mechanism, ...rest };
  return {
    ...readVariables(PERSON),
    KEYWRIGHT_QUESTION: plain(questionText(question)),
    KEYWRIGHT_OPERATION: operation,
    KEYWRIGHT_MECHANISM: mechanism,
    KEYWRIGHT_KEY_URI: plain(key.uri),
    KEYWRIGHT_KEY_LABEL: plain(key.label),
    KEYWRIGHT_KEY_ID: key.id,
    KEYWRIGHT_CLIENT_PID: String(client.pid ?? ""),
    KEYWRIGHT_CLIENT_UID: String(client.uid ?? ""),
    KEYWRIGHT_CLIENT_PROGRAM: plain(client.program ?? ""),
  };
}

const MOST_CHARACTERS = 500;

/** One line that no terminal or dialog obeys, and that no variable ends in: a label is somebody else's text. */
function plain(text: string): string {
  return visible(text).slice(0, MOST_CHARACTERS);
}
