/**
 * The error of every decoder here.
 * @module
 */

/** Bytes that are not what they should be. The message has the path, the offset and the fault. */
export class CodecError extends Error {
  readonly code = "ERR_CODEC";
  /** Where in the structure, such as `certificate/tbs/validity`. */
  readonly path: string;
  /** Where in the input, in bytes. */
  readonly offset: number;
  /** What is wrong there. */
  readonly fault: string;

  constructor(path: string, offset: number, fault: string) {
    super(`${path === "" ? "input" : path} at byte ${offset}: ${fault}`);
    this.name = "CodecError";
    this.path = path;
    this.offset = offset;
    this.fault = fault;
  }
}
