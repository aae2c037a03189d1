/** Speaking to a token in short, without a test around it. */
import { utf8 } from "../../src/codec/bytes.ts";
import type { Attribute, AttributeValue, Cryptoki, Provider } from "../../src/cryptoki/port.ts";
import { type AttributeName, CKA } from "../../src/spec/attributes.ts";

export const SO_PIN = utf8("so-pin-1");
export const PIN = utf8("user-pin");

export const RW = 6;
export const RO = 4;

export async function application(of: Provider): Promise<Cryptoki> {
  const app = await of.open();
  await app.call("C_Initialize", { args: {} });
  return app;
}

/** Initialises the token of the free slot and gives it a user PIN. */
export async function initialize(app: Cryptoki, label: string): Promise<number> {
  const { slots } = await app.call("C_GetSlotList", { tokenPresent: true });
  const slot = slots.at(-1) as number;
  await app.call("C_InitToken", { slot, pin: SO_PIN, label: utf8(label) });
  const session = await openSession(app, slot);
  await app.call("C_Login", { session, userType: 0, pin: SO_PIN });
  await app.call("C_InitPIN", { session, pin: PIN });
  await app.call("C_CloseSession", { session });
  return slot;
}

export async function openSession(app: Cryptoki, slot: number, flags = RW): Promise<number> {
  return (await app.call("C_OpenSession", { slot, flags })).session as number;
}

export type Template = { readonly [N in AttributeName]?: AttributeValue | string };

/** A template by names; texts become UTF-8. */
export function template(values: Template): Attribute[] {
  return Object.entries(values).map(([name, value]) => ({
    type: CKA[name as AttributeName][0],
    value: typeof value === "string" ? utf8(value) : (value as AttributeValue),
  }));
}

/** One attribute of an object; undefined when it is hidden or absent. */
export async function attributeOf(
  app: Cryptoki,
  session: number,
  object: number | bigint,
  name: AttributeName,
): Promise<AttributeValue | undefined> {
  const requests = [{ type: CKA[name][0] }];
  const { values } = await app.call("C_GetAttributeValue", { session, object, requests });
  return values.values[0]?.value;
}
