import { execFileSync } from "node:child_process";

/** What openssl prints for this input; throws if it fails. */
export function openssl(args: readonly string[], input: Uint8Array = new Uint8Array()): Buffer {
  return execFileSync("openssl", args, { input, stdio: ["pipe", "pipe", "pipe"] });
}
