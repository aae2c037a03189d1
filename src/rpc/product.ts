/**
 * How two Keywrights know each other: p11-kit's ends ignore what stands in the options of a frame.
 * @module
 */
import { utf8 } from "../codec/bytes.ts";

/** The options of C_Initialize and of its answer. */
export const PRODUCT: Uint8Array = utf8("keywright");
