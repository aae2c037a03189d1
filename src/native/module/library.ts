/**
 * Loading a PKCS#11 library and finding its functions.
 *
 * A library of 3.x has `C_GetInterfaceList` and offers several function lists; one of 2.40 has `C_GetFunctionList`.
 * @module
 */
import { existsSync, statSync } from "node:fs";
import koffi, { type LibraryHandle, type TypeObject } from "koffi";
import { after } from "../../cryptoki/awaitable.ts";
import type { Values } from "../../cryptoki/describe.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Args, Awaitable, FunctionName, Reply, Ulong, Version } from "../../cryptoki/port.ts";
import { FUNCTIONS, type FunctionRow } from "../../spec/functions.ts";
import { CKR, returnName } from "../../spec/returns.ts";
import { Arena, peek } from "./arena.ts";
import type { Calling, CFunction, CType } from "./calling.ts";
import { findLibrary } from "./discovery.ts";
import { elfFault } from "./elf.ts";
import { ModuleError } from "./errors.ts";
import { KeptParameters } from "./kept.ts";
import { functionOffset, INTERFACE, POINTER } from "./layout.ts";
import { PLANS } from "./plans.ts";

/** A loaded library: its functions, called as `calling` says. */
export interface Library {
  /** The version of the function list in use. */
  readonly version: Version;
  call<F extends FunctionName>(calling: Calling, fn: F, args: Args<F>): Awaitable<Reply<F>>;
}

const OK = CKR.CKR_OK[0];

/**
 * Every library that was loaded. koffi unloads one when its handle is collected, and functions reached through a function
 * list do not keep it; besides, many modules do not survive being unloaded.
 */
const loaded: LibraryHandle[] = [];

/** How many interfaces a library may have. */
const MOST_INTERFACES = 1024;

/** The interface of the standard among those that a library offers. */
const STANDARD_INTERFACE = "PKCS 11";

/**
 * Stack for calls on other threads. koffi's default is 128 KiB; modules were written for the 8 MiB that threads have,
 * and some parse configuration or JSON recursively.
 */
const ASYNC_STACK = 0x10_0000;

/**
 * The library at a path, or of a bare name in the usual folders.
 * @throws ModuleError if there is none, it is for another machine, or it is not a PKCS#11 module
 */
export function libraryPath(path: string): string {
  const found = findLibrary(path);
  if (found === undefined) throw ModuleError.withInstalled(path, "no library of this name in the usual folders");
  if (!existsSync(found)) throw ModuleError.withInstalled(path, "there is no such file");
  if (!statSync(found).isFile()) throw ModuleError.withInstalled(path, "this is not a file");
  const fault = process.platform === "win32" || process.platform === "darwin" ? undefined : elfFault(found);
  if (fault !== undefined) throw ModuleError.withInstalled(path, fault);
  return found;
}

/**
 * Loads a library. The environment that it is to see must be set before.
 * @throws ModuleError
 */
export function loadLibrary(path: string): Library {
  const found = libraryPath(path);
  const list = newestList(path, open(path, found));
  const functions = new Map<FunctionName, CFunction>();
  for (const fn of Object.keys(FUNCTIONS) as FunctionName[]) {
    const row: FunctionRow = FUNCTIONS[fn];
    const address = isIn(row, list.version) ? pointerAt(list.address + functionOffset(row.index)) : 0;
    if (address !== 0) functions.set(fn, koffi.decode(BigInt(address), prototype(PLANS[fn].types)) as CFunction);
  }
  const kept = new KeptParameters();
  return {
    version: list.version,
    call<F extends FunctionName>(calling: Calling, fn: F, args: Args<F>): Awaitable<Reply<F>> {
      const cFunction = functions.get(fn);
      if (cFunction === undefined) throw new CryptokiError(fn, "CKR_FUNCTION_NOT_SUPPORTED", `module ${path}`);
      const values = args as Values;
      const run = (how: Calling) => PLANS[fn].run(how, cFunction, values);
      switch (fn) {
        case "C_EncryptInit":
          return kept.begin(calling, values, run) as Awaitable<Reply<F>>;
        case "C_Encrypt":
        case "C_EncryptUpdate":
        case "C_EncryptFinal":
          return kept.proceed(calling, values, run) as Awaitable<Reply<F>>;
        case "C_CloseSession":
        case "C_CloseAllSessions":
        case "C_Finalize":
          return after(
            () => run(calling),
            (reply) => {
              kept.forget(values.session as Ulong | undefined);
              return reply;
            },
          ) as Awaitable<Reply<F>>;
        default:
          return PLANS[fn].run(calling, cFunction, values) as Awaitable<Reply<F>>;
      }
    },
  };
}

function open(path: string, found: string): LibraryHandle {
  try {
    koffi.config({ ...koffi.config(), async_stack_size: ASYNC_STACK });
  } catch {
    // Another library is loaded already; then the size is as it is.
  }
  try {
    // RTLD_DEEPBIND: Node's executable exports its own OpenSSL, which a module must not get in place of the one it was
    // linked with.
    const handle = koffi.load(found, { deep: true });
    loaded.push(handle);
    return handle;
  } catch (error) {
    throw ModuleError.withInstalled(path, `cannot be loaded: ${(error as Error).message}`, error);
  }
}

interface FunctionList {
  readonly address: number;
  readonly version: Version;
}

/** The newest function list that the library offers; one of 3.x begins like one of 2.40, so it has every function. */
function newestList(path: string, handle: LibraryHandle): FunctionList {
  const faults: string[] = [];
  const offered = [...interfaceLists(handle, faults), ...classicList(handle, faults)];
  const [first, ...others] = offered;
  if (first === undefined) {
    throw ModuleError.withInstalled(path, faults.join("; ") || "not a PKCS#11 module: it has no C_GetFunctionList");
  }
  return others.reduce((best, list) => (isNewer(list.version, best.version) ? list : best), first);
}

function isNewer(a: Version, b: Version): boolean {
  return a.major === b.major ? a.minor > b.minor : a.major > b.major;
}

function isIn({ since }: FunctionRow, { major, minor }: Version): boolean {
  if (since === undefined) return true;
  return since === "3.0" ? major >= 3 : major > 3 || (major === 3 && minor >= 2);
}

/**
 * C_GetFunctionList(&list): it has the functions of 2.40 and no more, whatever version it says. Later ones are only in the
 * lists of C_GetInterface; behind this one is other memory.
 */
function classicList(handle: LibraryHandle, faults: string[]): FunctionList[] {
  const get = exported(handle, "C_GetFunctionList", ["uintptr_t"]);
  if (get === undefined) return [];
  const out = new Arena(POINTER);
  const rv = Number(get(out.address));
  if (rv !== OK) faults.push(`its C_GetFunctionList answers ${returnName(rv)}`);
  else if (out.pointer(0) === 0) faults.push("its C_GetFunctionList gives no list (NULL)");
  else return functionList(out.pointer(0)).map((list) => ({ ...list, version: classicVersion(list.version) }));
  return [];
}

function classicVersion(version: Version): Version {
  return version.major >= 3 ? { major: 2, minor: 40 } : version;
}

/** C_GetInterfaceList(array, &count), or the one that C_GetInterface(NULL, NULL, &interface, 0) prefers. */
function interfaceLists(handle: LibraryHandle, faults: string[]): FunctionList[] {
  const count = new Arena(8);
  const getList = exported(handle, "C_GetInterfaceList", ["uintptr_t", "uintptr_t"]);
  if (getList !== undefined && Number(getList(0, count.address)) === OK) {
    const offered = Number(count.ulong(0));
    if (offered > MOST_INTERFACES) {
      faults.push(`its C_GetInterfaceList says that it has ${offered} interfaces`);
      return [];
    }
    const array = new Arena(Math.max(offered, 1) * INTERFACE.size);
    if (Number(getList(array.address, count.address)) !== OK) return [];
    return Array.from(
      { length: Math.min(offered, Number(count.ulong(0))) },
      (_, i) => array.address + i * INTERFACE.size,
    ).flatMap(standardList);
  }
  const get = exported(handle, "C_GetInterface", ["uintptr_t", "uintptr_t", "uintptr_t", "ulong"]);
  if (get === undefined || Number(get(0, 0, count.address, 0)) !== OK) return [];
  return standardList(count.pointer(0));
}

/** The function list of a CK_INTERFACE, if it is the standard's and not a vendor's. */
function standardList(address: number): FunctionList[] {
  const name = pointerAt(address + INTERFACE.name);
  if (name === 0 || koffi.decode.string(BigInt(name)) !== STANDARD_INTERFACE) return [];
  return functionList(pointerAt(address + INTERFACE.list));
}

function functionList(address: number): FunctionList[] {
  if (address === 0) return [];
  const [major, minor] = peek(address, 2) as unknown as [number, number];
  return [{ address, version: { major, minor } }];
}

function pointerAt(address: number): number {
  return Number(koffi.decode(BigInt(address), "uintptr_t"));
}

function exported(handle: LibraryHandle, name: string, types: CType[]): CFunction | undefined {
  try {
    return handle.func(name, "ulong", types) as CFunction;
  } catch {
    return undefined; // koffi says "cannot find function"; which functions there are is what is being found out
  }
}

const prototypes = new Map<string, TypeObject>();

/** One declaration per signature: many functions share one. */
function prototype(types: readonly CType[]): TypeObject {
  const key = types.join();
  const known = prototypes.get(key);
  if (known !== undefined) return known;
  const made = koffi.proto("ulong", [...types]);
  prototypes.set(key, made);
  return made;
}
