/**
 * Reading attributes of a key whose secret ones are not for the client: they are answered as sensitive, as a token answers
 * that keeps them.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import type { Args, AttributeReply, Awaitable, Cryptoki, Reply } from "../../cryptoki/port.ts";
import { CKR } from "../../spec/returns.ts";
import { isSecretAttribute } from "../../spec/secrecy.ts";
import type { ObjectFacts } from "../facts.ts";

/** @param kept the object whose secrets are kept; undefined where none are */
export function readAttributes(
  inner: Cryptoki,
  args: Args<"C_GetAttributeValue">,
  kept: ObjectFacts | undefined,
): Awaitable<Reply<"C_GetAttributeValue">> {
  const isKept = ({ type }: { type: number }) => kept !== undefined && isSecretAttribute(type, kept.class);
  if (!args.requests.some(isKept)) return inner.call("C_GetAttributeValue", args);
  return after(
    () => inner.call("C_GetAttributeValue", { ...args, requests: args.requests.filter((one) => !isKept(one)) }),
    ({ values: { values: told } }) => {
      const rest = [...told];
      const values: AttributeReply[] = args.requests.map((one) => (isKept(one) ? { type: one.type } : rest.shift()!));
      return { values: { rv: CKR.CKR_ATTRIBUTE_SENSITIVE[0], values } };
    },
  );
}
