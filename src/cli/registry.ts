/**
 * The commands, in the order of the help. A command's file is imported when it runs.
 * @module
 */
import type { CommandEntry, CommandFile } from "./command.ts";

function entry(name: string, summary: string, load: () => Promise<CommandFile>): CommandEntry {
  return { name, summary, load };
}

export const COMMANDS: readonly CommandEntry[] = [
  entry("plan", "show what apply would do", () => import("./commands/plan.ts")),
  entry("apply", "bring the tokens to what is declared", () => import("./commands/apply.ts")),
  entry(
    "status",
    "show where every declared key stands, and what else the tokens hold",
    () => import("./commands/status.ts"),
  ),
  entry("uri", "print the PKCS#11 URI of declared keys", () => import("./commands/uri.ts")),
  entry("schema", "print the JSON Schema of the declaration", () => import("./commands/schema.ts")),
  entry(
    "token list",
    "list the tokens of a module, or of every declared one",
    () => import("./commands/token-list.ts"),
  ),
  entry("token show", "show a token: state, flags, PIN bounds", () => import("./commands/token-show.ts")),
  entry("token init", "initialise a token: label, SO PIN, user PIN", () => import("./commands/token-init.ts")),
  entry(
    "token delete",
    "delete a token of the built-in store, with everything in it",
    () => import("./commands/token-delete.ts"),
  ),
  entry(
    "token backup",
    "copy the built-in store, with every token in it, to a file",
    () => import("./commands/token-backup.ts"),
  ),
  entry("token restore", "make the built-in store from a backup", () => import("./commands/token-restore.ts")),
  entry("pin set", "set the first user PIN of a token, as the SO", () => import("./commands/pin-set.ts")),
  entry(
    "pin change",
    "change the user PIN or the SO PIN of a token, knowing the old one",
    () => import("./commands/pin-change.ts"),
  ),
  entry(
    "pin unblock",
    "give a token a new user PIN, as the SO, where the old one is locked or lost",
    () => import("./commands/pin-unblock.ts"),
  ),
  entry(
    "pin forget",
    "forget which PINs a token refused, so that they may be tried again",
    () => import("./commands/pin-forget.ts"),
  ),
  entry("key list", "list the keys and certificates of a token", () => import("./commands/key-list.ts")),
  entry("key show", "show every attribute of a key and what belongs to it", () => import("./commands/key-show.ts")),
  entry(
    "key generate",
    "generate a key pair; refuses an id or label that is taken",
    () => import("./commands/key-generate.ts"),
  ),
  entry(
    "key export",
    "export the public key: PEM, DER, JWK, SSH, or the key's URI as PEM",
    () => import("./commands/key-export.ts"),
  ),
  entry(
    "key import",
    "import a private key from a PEM or DER file; refuses an id or label that is taken",
    () => import("./commands/key-import.ts"),
  ),
  entry(
    "key delete",
    "delete a key and what belongs to it, after showing what that is",
    () => import("./commands/key-delete.ts"),
  ),
  entry(
    "key rename",
    "give a key and what belongs to it another label or id; refuses one that is taken",
    () => import("./commands/key-rename.ts"),
  ),
  entry("cert csr", "make a certificate signing request for a key", () => import("./commands/cert-csr.ts")),
  entry(
    "cert self-sign",
    "make a certificate that a key signs for itself",
    () => import("./commands/cert-self-sign.ts"),
  ),
  entry(
    "cert issue",
    "issue a certificate for a request, with a CA key in a token",
    () => import("./commands/cert-issue.ts"),
  ),
  entry(
    "cert import",
    "put a certificate beside its key; refuses one that belongs to another key",
    () => import("./commands/cert-import.ts"),
  ),
  entry("cert show", "show a certificate, of a key or in a file", () => import("./commands/cert-show.ts")),
  entry("cert export", "write a certificate of the token to a file", () => import("./commands/cert-export.ts")),
  entry("sign", "sign a file with a key", () => import("./commands/sign.ts")),
  entry(
    "verify",
    "verify a file's signature with a key's public part; exit code 1 when it is wrong",
    () => import("./commands/verify.ts"),
  ),
  entry("random", "random bytes from a token", () => import("./commands/random.ts")),
  entry("mechanism list", "list what a token can do", () => import("./commands/mechanism-list.ts")),
  entry("serve", "serve tokens to other programs, over p11-kit's protocol", () => import("./commands/serve.ts")),
  entry("exec", "run a program with tokens that it can use, served to it alone", () => import("./commands/exec.ts")),
  entry(
    "trace",
    "run a program with tokens and show every PKCS#11 call that it makes",
    () => import("./commands/trace.ts"),
  ),
  entry(
    "forward",
    "let programs on another machine use tokens of this one, over ssh",
    () => import("./commands/forward.ts"),
  ),
  entry(
    "module-path",
    "print the library that programs load to use what keywright serve or exec offers",
    () => import("./commands/module-path.ts"),
  ),
  entry(
    "audit verify",
    "say what an audit log proves; exit code 1 when it was changed",
    () => import("./commands/audit-verify.ts"),
  ),
  entry("completion", "print the completion script of a shell", () => import("./commands/completion.ts")),
];
