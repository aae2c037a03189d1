/**
 * The error of a library that cannot be used as a PKCS#11 module.
 * @module
 */
import { KeywrightError } from "../../cryptoki/errors.ts";
import { installedModules } from "./discovery.ts";

/** A module that cannot be loaded: missing, of another architecture, not a PKCS#11 module. */
export class ModuleError extends KeywrightError {
  override readonly code = "ERR_MODULE";
  /** The library as it was asked for. */
  readonly path: string;
  /** What is wrong with it. */
  readonly fault: string;

  constructor(path: string, fault: string, options: { cause?: unknown; hints?: readonly string[] } = {}) {
    super(`module ${path}: ${fault}`, options);
    this.path = path;
    this.fault = fault;
  }

  /** With the modules of this machine as hints. */
  static withInstalled(path: string, fault: string, cause?: unknown): ModuleError {
    const found = installedModules();
    const hints =
      found.length === 0
        ? ["no PKCS#11 module was found on this machine"]
        : [`PKCS#11 modules on this machine: ${found.join(", ")}`];
    return new ModuleError(path, fault, { hints, ...(cause === undefined ? {} : { cause }) });
  }
}
