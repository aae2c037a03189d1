/**
 * How a token is reached, in one spelling: for tokens that say nothing of themselves that would tell them apart.
 * @module
 */
import { type Family, familyOfLibrary } from "../families/families.ts";
import { readVariable } from "../host/environment.ts";
import { realPath } from "../host/paths.ts";
import { findLibrary } from "../native/module/discovery.ts";
import { isPeer, parsePeer } from "./address.ts";
import type { ModuleReference } from "./index.ts";

/**
 * The module's real path, the variables and the `pReserved` that say where its tokens are, and its store; the same for
 * the same, however it is written.
 */
export function reachOf({ module, environment = {}, reserved = "", store = "" }: ModuleReference): string {
  const { located } = familyOfModule(module);
  const variables = (located ?? Object.keys(environment)).map((name) => [
    name,
    settle(environment[name] ?? readVariable(name) ?? ""),
  ]);
  return JSON.stringify([libraryOf(module), variables.sort(), settleReserved(reserved), settle(store)]);
}

/** The family that a module's file name tells, be it written in full, bare, or a link to it. */
export function familyOfModule(module: string): Family {
  if (isPeer(module)) return familyOfLibrary("");
  const family = familyOfLibrary(module);
  return family.name === "generic" ? familyOfLibrary(libraryOf(module)) : family;
}

/** The file that the loader takes for a module, its links followed; the module's name where there is none. */
function libraryOf(module: string): string {
  if (module === "softtoken") return module;
  if (isPeer(module)) return addressOf(module);
  const found = findLibrary(module);
  return found === undefined ? module : realPath(found);
}

/** A peer's address, the links of a socket's path followed. */
function addressOf(module: string): string {
  const peer = parsePeer(module);
  return peer.kind === "socket" ? `unix:path=${realPath(peer.path)}` : module;
}

/** A path in one spelling, also behind a prefix such as `sql:`; other text as it is. */
function settle(text: string): string {
  const [, prefix = "", path] = /^([A-Za-z]\w*:)?(\.{0,2}\/.*|\.{1,2})$/s.exec(text) ?? [];
  return path === undefined ? text : prefix + realPath(path);
}

/** Of NSS's parameters those that say which database it is: their order, quotes and all the others make no difference. */
const WHICH = new Set(["configdir", "certPrefix", "keyPrefix"]);

function settleReserved(reserved: string): string {
  const parameters = Array.from(
    reserved.matchAll(/(\w+)=(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s'"]\S*)?)/gs),
    ([, name = "", single, double, bare]) => [name, settle((single ?? double ?? bare ?? "").replace(/\\(.)/gs, "$1"))],
  ).filter(([name, value]) => WHICH.has(name!) && value !== "");
  return parameters.length === 0 ? reserved : JSON.stringify(parameters.sort());
}
