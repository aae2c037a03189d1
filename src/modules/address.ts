/**
 * What a module is called: the built-in token, a library, or a peer that speaks p11-kit's protocol.
 * @module
 */
import { isAbsolute, resolve } from "node:path";
import { ModuleError } from "../native/module/errors.ts";

/** Where a peer is reached. */
export type Peer =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "command"; readonly program: string; readonly words: readonly string[] };

const SOCKET = "unix:path=";

/** Whether a module's name is a peer's address: `unix:path=…`, `|command …`, and `vsock:…`, which is refused. */
export function isPeer(module: string): boolean {
  return module.startsWith("|") || module.startsWith("unix:") || module.startsWith("vsock:");
}

/**
 * A peer's address, as p11-kit writes it (p11-kit-rpc.md, 1.1).
 * @throws ModuleError for one that is not understood, or that cannot be reached from here
 */
export function parsePeer(module: string): Peer {
  if (module.startsWith("|")) {
    const [program, ...words] = splitWords(module.slice(1));
    if (program === undefined) throw new ModuleError(module, "there is no command after |");
    return { kind: "command", program, words };
  }
  if (module.startsWith("vsock:")) {
    throw new ModuleError(module, "addresses of virtual machines (vsock) are not supported", {
      hints: ["use a socket (unix:path=/…), or a command that connects (|socat - VSOCK-CONNECT:…)"],
    });
  }
  const path = module.startsWith(SOCKET) ? decoded(module) : "";
  if (!isAbsolute(path)) {
    throw new ModuleError(module, "a socket is written unix:path=/… with its whole path");
  }
  return { kind: "socket", path };
}

/** The path behind `unix:path=`, percent-decoded; `,` and `;` are ordinary characters. */
function decoded(module: string): string {
  try {
    return decodeURIComponent(module.slice(SOCKET.length));
  } catch {
    throw new ModuleError(module, "a % in the path is followed by two hexadecimal digits");
  }
}

/**
 * Words as a shell splits them, without expanding anything: quotes and backslashes.
 * @throws ModuleError for a quote that is not closed
 */
export function splitWords(command: string): string[] {
  const words: string[] = [];
  for (const [, word] of command.matchAll(/((?:[^\s'"\\]|'[^']*'|"(?:[^"\\]|\\.)*"|\\.)+)|\S/gs)) {
    if (word === undefined) throw new ModuleError(command, "a quote in the command is not closed");
    words.push(
      word.replace(
        /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/gs,
        (_all, single?: string, double?: string, bare?: string) =>
          single ?? double?.replace(/\\(["\\$`])/g, "$1") ?? bare ?? "",
      ),
    );
  }
  return words;
}

/** A module's name with the path of a library in it made absolute. @param folder where relative paths start */
export function resolveModule(module: string, folder: string): string {
  return module.includes("/") && !isPeer(module) ? resolve(folder, module) : module;
}
