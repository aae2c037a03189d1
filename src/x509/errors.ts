/**
 * The error of this room.
 * @module
 */
import { KeywrightError } from "../cryptoki/errors.ts";

/** A name, extension, key or certificate that cannot be what it is meant to be. */
export class X509Error extends KeywrightError {
  override readonly code = "ERR_X509";
}
