/**
 * The libraries of this process. A library is loaded once and initialised once, whoever uses it; it sees one environment
 * and one `pReserved`.
 * @module
 */
import { realpathSync } from "node:fs";
import koffi from "koffi";
import type { Ulong } from "../../cryptoki/port.ts";
import { setEnvironment } from "../../host/environment.ts";
import { ModuleError } from "./errors.ts";
import { libraryPath } from "./library.ts";
import { Turns } from "./turns.ts";

/** How a native module is opened. */
export interface NativeModuleOptions {
  /** The library's path, or its bare name in the usual folders. */
  readonly path: string;
  /** Variables to set before it is loaded; they stay set. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What `pReserved` of C_Initialize points to (NSS: `configdir='…' …`). */
  readonly reserved?: string;
}

/** An application, as others of its library see it. */
export interface Member {
  hasSessions(slot: Ulong): boolean;
}

/** One library in this process. */
export interface Instance {
  /** The library's real path. */
  readonly path: string;
  readonly reserved: string | undefined;
  /** The applications that called C_Initialize and not yet C_Finalize. */
  readonly users: Set<Member>;
  /** Orders C_Initialize and C_Finalize, and per slot what logs in and out. */
  readonly turns: Turns<"initialise" | Ulong>;
  /** The applications that count on the login of a slot: the library has one for all of them. */
  readonly logins: Map<Ulong, Set<Member>>;
  /** Whether C_Finalize is ours to call: not if somebody else in this process had initialised it already. */
  isOurs: boolean;
}

interface Claim {
  readonly instance: Instance;
  readonly environment: string;
}

const claims = new Map<string, Claim>();
const variables = new Map<string, string>();

/** What stands against having this library in this process; undefined if nothing does. */
export function conflict({ path, environment = {}, reserved }: NativeModuleOptions): string | undefined {
  const claim = claims.get(realpathSync(libraryPath(path)));
  if (claim !== undefined && claim.environment !== canonical(environment)) {
    return "it is loaded in this process already, with another environment";
  }
  if (claim !== undefined && claim.instance.reserved !== reserved) {
    return "it is loaded in this process already, with another pReserved";
  }
  const taken = Object.keys(environment).find(
    (name) => (variables.get(name) ?? environment[name]) !== environment[name],
  );
  return taken === undefined ? undefined : `another module in this process has another ${taken}`;
}

/**
 * The instance of a library in this process. On the first time its environment is set.
 * @throws ModuleError if it cannot be used, or not with this environment or `pReserved`
 */
export function claimInstance(options: NativeModuleOptions): Instance {
  const { environment = {}, reserved } = options;
  const path = realpathSync(libraryPath(options.path));
  const fault = conflict(options);
  if (fault !== undefined) {
    throw new ModuleError(options.path, fault, { hints: ["open it in a process of its own: placement process"] });
  }
  const known = claims.get(path);
  if (known !== undefined) return known.instance;
  setEnvironment(environment);
  checkEnvironment(options.path, environment);
  for (const [name, value] of Object.entries(environment)) variables.set(name, value);
  const instance: Instance = { path, reserved, users: new Set(), turns: new Turns(), logins: new Map(), isOurs: true };
  claims.set(path, { instance, environment: canonical(environment) });
  return instance;
}

/** A Worker's own `process.env` does not reach C: the library would read its defaults, and use another token store. */
function checkEnvironment(path: string, environment: Readonly<Record<string, string>>): void {
  const getenv = koffi.load(null).func("getenv", "str", ["str"]) as (name: string) => string | null;
  const unseen = Object.entries(environment).find(([name, value]) => getenv(name) !== value);
  if (unseen === undefined) return;
  throw new ModuleError(path, `it would not see ${unseen[0]}, for this thread has an environment of its own`, {
    hints: ["start the Worker with env: SHARE_ENV, or open the module with placement process"],
  });
}

function canonical(environment: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1)));
}
