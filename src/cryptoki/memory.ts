/**
 * Attribute values as C has them in memory: on a machine where CK_ULONG has eight bytes, the lowest first.
 * @module
 */
import { attributeKind } from "../spec/attributes.ts";
import { UNAVAILABLE_INFORMATION } from "../spec/structures.ts";
import type { AttributeValue, Ulong } from "./port.ts";
import { ulong } from "./ulong.ts";

/** The size of CK_ULONG, in bytes. */
export const ULONG_SIZE = 8;

/** CK_ULONG. */
export function ulongToMemory(value: Ulong): Uint8Array {
  const bytes = new Uint8Array(ULONG_SIZE);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** CK_ULONG of eight bytes at `at`. */
export function ulongFromMemory(bytes: Uint8Array, at = 0): Ulong {
  return ulong(new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(at, true));
}

/**
 * The value that a module wrote for an attribute. A length that does not suit the kind is read where that is
 * unambiguous - a CK_ULONG of 1, 2 or 4 bytes, a CK_BBOOL as wide as a CK_ULONG - and is given as raw bytes otherwise.
 */
export function valueFromMemory(type: number, bytes: Uint8Array): AttributeValue {
  switch (attributeKind(type)) {
    case "bool":
      return readBool(bytes);
    case "ulong":
    case "class":
    case "keyType":
    case "certificateType":
    case "mechanism":
    case "hardwareFeature":
    case "profile":
      return bytes.length === ULONG_SIZE ? ulongFromMemory(bytes) : readNarrow(bytes);
    case "mechanisms":
    case "ulongs":
      if (bytes.length % ULONG_SIZE !== 0) return bytes;
      return Array.from({ length: bytes.length / ULONG_SIZE }, (_, i) => ulongFromMemory(bytes, i * ULONG_SIZE));
    default:
      return bytes;
  }
}

function readBool(bytes: Uint8Array): boolean | Uint8Array {
  const suits = bytes.length === 1 || bytes.length === 4 || bytes.length === 8;
  return suits && bytes.subarray(1).every((byte) => byte === 0) ? bytes[0] !== 0 : bytes;
}

function readNarrow(bytes: Uint8Array): Ulong | Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (bytes.length) {
    case 1:
      return view.getUint8(0);
    case 2:
      return view.getUint16(0, true);
    case 4: {
      const value = view.getUint32(0, true);
      return value === 0xffff_ffff ? UNAVAILABLE_INFORMATION : value;
    }
    default:
      return bytes;
  }
}
