/**
 * `keywright/softtoken`: the built-in token as a Provider, without the PIN guard that `openModule` puts under it.
 * @module
 */
export { type SoftTokenOptions, StoreError, softToken } from "../softtoken/index.ts";
