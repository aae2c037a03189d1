/**
 * `keywright key list`
 * @module
 */
import type { TokenObject } from "../../cryptoki/session/objects.ts";
import type { Session } from "../../cryptoki/session/session.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { findTarget, TARGET_OPTIONS, withSession } from "../target.ts";
import { type ObjectValue, objectListView, objectValue } from "../views/objects.ts";

export const spec = command({
  name: "key list",
  summary: "list the keys and certificates of a token",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: {
    ...TARGET_OPTIONS,
    public: flag("without login: public objects only"),
    json: flag("print JSON (schema keywright/key-list/1)"),
  },
  notes: [
    "MAY: Sign, Verify, Encrypt, Decrypt, Wrap, Unwrap, deRive; X: the key may be extracted.",
    "FINGERPRINT: for --fingerprint, where several objects have one class, id and label; a private key that does not",
    "tell whose it is makes a signature, or agrees on a secret, for that.",
    "TOKEN is a declared name or a PKCS#11 URI; without it, the module's only token.",
  ],
  examples: [
    "keywright key list demo",
    "keywright key list 'pkcs11:token=prod' -m /usr/lib/softhsm/libsofthsm2.so --public",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withSession(target, input, io, { login: !input.public }, async (session) => {
    const listed: Listed[] = [];
    for await (const object of session.find()) listed.push({ object, value: await objectValue(object) });
    const objects = await withFingerprints(session, listed);
    objects.sort((a, b) => (order(a) < order(b) ? -1 : 1));
    io.show(objectListView, { token: session.token.uri, objects });
  });
  return EXIT.done;
}

interface Listed {
  readonly object: TokenObject;
  readonly value: ObjectValue;
}

const identity = ({ id, label, class: kind }: ObjectValue) => `${id}\n${label}\n${kind}`;

const order = (value: ObjectValue) => `${identity(value)}\n${value.fingerprint ?? ""}`;

/** Adds what tells them apart to those that have one class, id and label; others are not looked at again. */
async function withFingerprints(session: Session, listed: readonly Listed[]): Promise<ObjectValue[]> {
  const times = new Map<string, number>();
  for (const { value } of listed) times.set(identity(value), (times.get(identity(value)) ?? 0) + 1);
  const alike = listed.filter(({ value }) => times.get(identity(value))! > 1);
  if (alike.length === 0) return listed.map(({ value }) => value);
  const { tellApart } = await import("../fingerprints.ts");
  const told = await tellApart(
    session,
    alike.map(({ object }) => object),
  );
  const digits = new Map(told.map(({ object, fingerprints: [first] }) => [object, first]));
  return listed.map(({ object, value }) => {
    const fingerprint = digits.get(object);
    return fingerprint === undefined ? value : { ...value, fingerprint };
  });
}
