/**
 * Folders for the objects of native modules: made when they are missing, and made known to the library.
 * @module
 */
import { access } from "node:fs/promises";
import { familyOfLibrary } from "../families/families.ts";
import { StoreError, type StoreSettings, storeSettings } from "../families/stores.ts";
import { systemCode } from "../host/errors.ts";
import { makePrivateFolder, writeAtomic } from "../host/files.ts";
import type { ModuleReference } from "./index.ts";

/** A module whose store is known to it through its environment and `pReserved`. */
export interface Located {
  readonly reference: ModuleReference;
  /** Makes what the library needs and does not make itself. Safe to repeat. @throws HostError */
  prepare(): Promise<void>;
}

/**
 * Tells a module where its store is. What the reference declares of environment and `pReserved` wins.
 * @throws StoreError when the module's family has no store, or cannot use this one
 */
export function locate(reference: ModuleReference): Located {
  const { module, store: folder, label, ...rest } = reference;
  if (folder === undefined || module === "softtoken") return { reference, prepare: async () => undefined };
  const settings = storeSettings(familyOfLibrary(module), { folder, ...(label === undefined ? {} : { label }) });
  if (settings === undefined) {
    throw new StoreError(`${module} does not keep its objects in a folder that can be chosen`, {
      hints: ["leave store out; a library may have variables for it: environment"],
    });
  }
  const environment = { ...settings.environment, ...rest.environment };
  const reserved = rest.reserved ?? settings.reserved;
  return {
    reference: { module, ...rest, environment, ...(reserved === undefined ? {} : { reserved }) },
    prepare: () => prepare(folder, settings),
  };
}

async function prepare(folder: string, { folders = [], file }: StoreSettings): Promise<void> {
  makePrivateFolder(folder);
  for (const path of folders) makePrivateFolder(path);
  if (file !== undefined && !(await isThere(file.path))) await writeAtomic(file.path, file.contents);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    // It is there, and whether it can be read is the library's to find out.
    return true;
  }
}
