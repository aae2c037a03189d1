/**
 * The keys of an audit log's checkpoints: one in a token signs, its public part verifies.
 * @module
 */
import { createPublicKey } from "node:crypto";
import { existsSync } from "node:fs";
import { DIGESTS, type DigestName } from "../cryptoki/mechanisms.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { isUri } from "../cryptoki/uri.ts";
import type { CheckpointSigner } from "../layers/audit/log.ts";
import type { VerifyOptions } from "../layers/audit/verify.ts";
import { signerFor, verifies } from "../x509/signers.ts";
import { CommandError } from "./errors.ts";
import { readIn } from "./files.ts";
import type { Io } from "./io.ts";
import { publicPart } from "./public-part.ts";
import { findTarget, type TargetInput } from "./target.ts";

/** A key in a token as the signer of checkpoints, in the form that suits it. */
export async function checkpointSigner(session: Session, key: TokenObject): Promise<CheckpointSigner> {
  const { digest, pss, sign } = await signerFor(session, key);
  return { key: await key.uri(), digest, pss, sign };
}

/** Whether a checkpoint was signed by one of these keys: files (PEM or DER, also of certificates), URIs or declared names. */
export async function checkpointVerifier(
  keys: readonly string[],
  input: TargetInput,
  io: Io,
): Promise<VerifyOptions["holds"]> {
  if (keys.length === 0) return undefined;
  const spkis: Uint8Array[] = [];
  for (const key of keys) {
    const isFile = !isUri(key) && existsSync(key);
    spkis.push(isFile ? await fileKey(key) : (await publicPart(await findTarget(key, input, io), input, io)).spki);
  }
  return (data, signature, { digest, pss }) => {
    const known = digest === undefined || (Object.hasOwn(DIGESTS, digest) && digest !== "SHA-1");
    if (!known) return false;
    return spkis.some((spki) =>
      holds({ digest: digest as DigestName | undefined, pss: pss === true }, spki, data, signature),
    );
  };
}

/** A key of another kind than the one that signed does not fit the form, and throws. */
function holds(...[form, spki, data, signature]: Parameters<typeof verifies>): boolean {
  try {
    return verifies(form, spki, data, signature);
  } catch {
    return false;
  }
}

async function fileKey(path: string): Promise<Uint8Array> {
  const bytes = await readIn(path);
  for (const form of [bytes, { key: bytes, format: "der", type: "spki" }] as const) {
    try {
      return createPublicKey(form).export({ format: "der", type: "spki" });
    } catch {
      // Another form, or none.
    }
  }
  throw new CommandError(`${path} holds no public key`, ["PEM or DER, as keywright key export writes it"]);
}
