/**
 * C_GenerateKey and C_GenerateKeyPair. PKCS#11 3.1, 5.18.
 * @module
 */

import { after } from "../../cryptoki/awaitable.ts";
import type { Args, Awaitable, Reply, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import type { Application } from "../application.ts";
import { attr, cls } from "../codes.ts";
import type { PairParts } from "../mechanisms/definition.ts";
import { noParameter } from "../mechanisms/definition.ts";
import { addObjects, checkAccess } from "../objects/access.ts";
import { assemble, type Draft } from "../objects/assemble.ts";
import { readTemplate } from "../objects/template.ts";
import { ableTo } from "../operations/usage.ts";
import type { Values } from "../store/record.ts";

export function generateKey(app: Application, args: Args<"C_GenerateKey">): Reply<"C_GenerateKey"> {
  const session = app.session(args.session);
  const { generate } = ableTo(args.mechanism, "generate");
  noParameter(args.mechanism);
  const template = readTemplate(args.template);
  checkAccess(session, template, true);
  const length = template.get(attr.VALUE_LEN);
  const value = generate.make(length === undefined ? undefined : small(length as Ulong));
  const draft = assemble({
    origin: "generate",
    template: args.template,
    implied: new Map([
      [attr.CLASS, cls.SECRET_KEY],
      [attr.KEY_TYPE, generate.keyType],
    ]),
    made: { values: new Map([[attr.VALUE_LEN, value.length]]), secrets: new Map([[attr.VALUE, value]]) },
    mechanism: args.mechanism.type,
    isSo: session.token.role === "so",
  });
  return { key: addObjects(app, session, [draft])[0]! };
}

export function generateKeyPair(
  app: Application,
  args: Args<"C_GenerateKeyPair">,
): Awaitable<Reply<"C_GenerateKeyPair">> {
  const session = app.session(args.session);
  const { generatePair } = ableTo(args.mechanism, "generatePair");
  noParameter(args.mechanism);
  const publicTemplate = readTemplate(args.publicTemplate);
  const privateTemplate = readTemplate(args.privateTemplate);
  checkAccess(session, publicTemplate, false);
  checkAccess(session, privateTemplate, true);
  let isLater = false;
  const reply = after(
    () => generatePair.make(publicTemplate, privateTemplate),
    (parts: PairParts) => {
      const now = isLater ? app.session(args.session) : session;
      const draft = (objectClass: number, given: Values, made: PairParts["publicKey"]): Draft =>
        assemble({
          origin: "generate",
          template: [...given].map(([type, value]) => ({ type, value })),
          implied: new Map([
            [attr.CLASS, objectClass],
            [attr.KEY_TYPE, generatePair.keyType],
          ]),
          made,
          mechanism: args.mechanism.type,
          isSo: now.token.role === "so",
        });
      const drafts = [
        draft(cls.PUBLIC_KEY, publicTemplate, parts.publicKey),
        draft(cls.PRIVATE_KEY, privateTemplate, parts.privateKey),
      ];
      const store = () => {
        const [publicKey, privateKey] = addObjects(app, now, drafts);
        return { publicKey: publicKey!, privateKey: privateKey! };
      };
      // Keys that took long to make are not made again when the store is busy.
      return isLater ? app.patience.write(store) : store();
    },
  );
  isLater = true;
  return reply;
}
