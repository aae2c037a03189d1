/**
 * C_GetAttributeValue on the wire.
 * @module
 */
import {
  type Answer,
  ATTRIBUTE_SIZE,
  type AttributeAsking,
  type NestedRow,
  PARTIAL,
  type Row,
} from "../../cryptoki/attribute-reading.ts";
import { describeCall } from "../../cryptoki/describe.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Args, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { kindOf, type WireAttribute, type WireRequest } from "../attributes.ts";
import type { Dialect } from "../dialect.ts";
import type { Fields } from "../forms.ts";
import { MAX_BODY } from "../limits.ts";

import { fromWireAttribute } from "../values.ts";

const FN = "C_GetAttributeValue";

/**
 * Asks for attributes of one object.
 * @param ask sends the fields of a request and answers those of its response
 */
export function askingFor(
  args: Args<"C_GetAttributeValue">,
  dialect: Dialect,
  ask: (fields: Fields) => Promise<Fields>,
): AttributeAsking {
  const { session, object } = args;
  const send = async (
    requests: readonly WireRequest[],
  ): Promise<{ attributes: readonly WireAttribute[]; rv: number }> => {
    const [attributes, answered] = (await ask([session, object, requests])) as [readonly WireAttribute[], Ulong];
    const rv = small(answered);
    if (!PARTIAL.has(rv)) throw new CryptokiError(FN, rv, describeCall(FN, { ...args }));
    if (attributes.length !== requests.length || attributes.some(({ type }, i) => type !== requests[i]!.type)) {
      throw new CryptokiError(FN, "CKR_DEVICE_ERROR", "the peer answers other attributes than it was asked for");
    }
    return { attributes, rv };
  };
  return {
    // Servers up to p11-kit 0.25.3 have no place for attributes within attributes, and the version does not tell which.
    canNest: dialect.nesting === "with room",
    async ask(rows) {
      const { attributes, rv } = await send(rows.map(({ type, room }) => ({ type, room: room ?? 0 })));
      return { rv, answers: rows.map((row, i) => answerOf(row, attributes[i]!, dialect)) };
    },
    async askNested(type, rows) {
      const nested = rows.map((row) => ({ type: row.type, room: row.room ?? 0 }));
      const { attributes } = await send([{ type, room: rows.length * ATTRIBUTE_SIZE, nested }]);
      const { value } = attributes[0]!;
      return Array.isArray(value) ? (value as readonly WireAttribute[]).map((one) => nestedOf(one, dialect)) : [];
    },
  };
}

function answerOf({ room }: Row, attribute: WireAttribute, dialect: Dialect): Answer {
  const { declared } = attribute;
  // No answer could bring more: what says so is not taken for a length to make room for.
  if (declared === undefined || declared > MAX_BODY) return {};
  if (room === null || declared > room || isEmpty(attribute, dialect)) return { length: declared };
  const value = fromWireAttribute(attribute, dialect);
  return value === undefined ? {} : { length: declared, value };
}

/** Whether only the length was sent, or less than it says. */
function isEmpty({ type, declared = 0, value }: WireAttribute, dialect: Dialect): boolean {
  if (value === null) return declared > 0;
  if (kindOf(type, dialect) === "mechanisms" && typeof value === "number") return true;
  return Array.isArray(value) && value.length === 0 && declared > 0;
}

function nestedOf(attribute: WireAttribute, dialect: Dialect): NestedRow {
  const { type, declared = 0 } = attribute;
  const value = isEmpty(attribute, dialect) ? undefined : fromWireAttribute(attribute, dialect);
  return { type, room: declared, ...(value === undefined ? {} : { value }) };
}
