/**
 * The library's front door.
 *
 * ```ts
 * import { ecdsa, openModule, Pin } from "keywright";
 *
 * const module = await openModule("/usr/lib/softhsm/libsofthsm2.so");
 * const token = await module.token({ label: "prod" });
 * const signature = await token.withSession({ user: "USER", pin: Pin.from("1234") }, async (session) => {
 *   const key = await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "www" });
 *   return session.sign(key, ecdsa("SHA-256"), new TextEncoder().encode("hello"));
 * });
 * await module.close();
 * ```
 * @module
 */
import { dirname, resolve } from "node:path";
import {
  ArgumentError,
  FLAG,
  isPlain,
  kind,
  members,
  oneOf,
  optional,
  requireArguments,
  TEXT,
  whole,
} from "./cryptoki/arguments.ts";
import { Module } from "./cryptoki/module.ts";
import { stateFolder } from "./host/folders.ts";
import type { Surroundings } from "./lifecycle/access.ts";
import type { Declaration } from "./lifecycle/declaration.ts";
import { defaultStore, openDeclared, reachOfDeclared, requireAllShown } from "./modules/declared.ts";
import { openGuarded } from "./modules/guarded.ts";
import type { ModuleReference, Placement } from "./modules/index.ts";
import { PinMemory } from "./pins/memory.ts";
import { type Prompt, readPin } from "./pins/sources.ts";

export interface OpenModuleOptions extends Omit<ModuleReference, "module" | "placement"> {
  /** Where a library runs; what suits its family by default. `process` alone survives its crash, and can be ended. */
  readonly isolation?: Placement;
  /** The state folder, where the PIN guard remembers; the machine's usual one by default. */
  readonly state?: string;
  /** Whether a person types every PIN that this module is given, so that the last try is theirs to spend; false by default. */
  readonly attended?: boolean;
}

const OPEN_OPTIONS = members({
  state: optional(TEXT),
  attended: optional(FLAG),
  environment: optional(
    kind(
      "an object of texts",
      (value) => isPlain(value) && Object.values(value).every((one) => typeof one === "string"),
    ),
  ),
  reserved: optional(TEXT),
  isolation: optional(oneOf("direct", "thread", "process")),
  timeoutMs: optional(whole(1)),
  store: optional(TEXT),
  label: optional(TEXT),
  scryptCost: optional(whole(10, 20)),
  soRecovery: optional(FLAG),
});

/**
 * Opens a PKCS#11 module, with the PIN guard under every login.
 * @param module `softtoken`, or the path or file name of a library
 * @throws ArgumentError for an option that there is not, or that this kind of module does not have
 * @throws KeywrightError when there is no such module or it cannot be initialised
 */
export async function openModule(module: string, options: OpenModuleOptions = {}): Promise<Module> {
  requireArguments("openModule", { module: [module, TEXT], options: [options, OPEN_OPTIONS] });
  refuseForeign(module, options);
  const { state = stateFolder(), attended = false, isolation, ...rest } = options;
  const placed = isolation === undefined ? {} : { placement: isolation };
  const reference = { ...defaultStore(module, state), ...rest, ...placed, module };
  return Module.open(openGuarded(reference, { memory: new PinMemory(state), attended: () => attended }));
}

const FOR_LIBRARIES = ["environment", "reserved", "isolation", "timeoutMs", "label"] as const;
const FOR_SOFTTOKEN = ["scryptCost", "soRecovery"] as const;

function refuseForeign(module: string, options: OpenModuleOptions): void {
  const [foreign, whose] =
    module === "softtoken"
      ? [FOR_LIBRARIES, "libraries, and softtoken is the built-in token"]
      : [FOR_SOFTTOKEN, `the built-in token (softtoken), and ${module} is a library`];
  const name = foreign.find((one) => options[one] !== undefined);
  if (name !== undefined)
    throw new ArgumentError(`openModule: options has ${JSON.stringify(name)}, which is for ${whose}`);
}

export interface DeclaredOptions {
  /** The state folder: pending hooks, the PIN guard's memory; the machine's usual one by default. */
  readonly state?: string;
  /** Asks a person for the PINs that are declared as `{ prompt: true }`; without it nobody can be asked. */
  readonly prompt?: Prompt;
}

/**
 * What `withTokens`, `observe` and `apply` need to reach the tokens of a declaration: modules opened as they are declared,
 * with the PIN guard under every login, PINs read from their declared sources, paths from the declaration's folder.
 */
export function surroundingsOf(declaration: Declaration, options: DeclaredOptions = {}): Surroundings {
  const { state = stateFolder(), prompt } = options;
  const folder = dirname(resolve(declaration.file));
  return {
    folder,
    state,
    now: () => new Date(),
    open: (token) => openDeclared(token, { folder, state }),
    reach: (token) => reachOfDeclared(token, { folder, state }),
    requireAllShown: (token, shown) => requireAllShown(token, { folder, state }, shown),
    readPin: (source, purpose) => readPin(source, { folder, purpose, prompt }),
  };
}

export * from "./doors/cryptoki.ts";
export * from "./doors/lifecycle.ts";
export * from "./doors/serving.ts";
export * from "./doors/softtoken.ts";
export * from "./doors/uri.ts";
export * from "./doors/x509.ts";
export type { Placement } from "./modules/index.ts";
