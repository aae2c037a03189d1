/**
 * How PKCS#11's structures lie in memory on this machine: the one place that knows sizes, alignment and packing.
 *
 * PKCS#11 uses the platform's own layout, but on Windows, where structures are packed to one byte and CK_ULONG has four
 * bytes. Numbers are little-endian: koffi runs on no other machine.
 * @module
 */
import koffi from "koffi";
import { STRUCTURES, type StructureName } from "../../spec/structures.ts";

/** CK_ULONG in bytes: 8, but 4 on Windows. */
export const ULONG: number = koffi.sizeof("ulong");

/** A pointer in bytes. */
export const POINTER: number = koffi.sizeof("void *");

const PACKED = process.platform === "win32";

/** The next offset at which something of this alignment may lie. */
function align(offset: number, alignment: number): number {
  return PACKED ? offset : Math.ceil(offset / alignment) * alignment;
}

/** The offsets of fields `[size, alignment]` one after the other, and the size of the whole. */
export function layOut(fields: readonly (readonly [size: number, alignment: number])[]): {
  offsets: number[];
  size: number;
} {
  let at = 0;
  let widest = 1;
  const offsets = fields.map(([size, alignment]) => {
    const offset = align(at, alignment);
    at = offset + size;
    widest = Math.max(widest, alignment);
    return offset;
  });
  return { offsets, size: align(at, widest) };
}

const ulong = [ULONG, ULONG] as const;
const pointer = [POINTER, POINTER] as const;

/** CK_ATTRIBUTE: type, pValue, ulValueLen. CK_MECHANISM has the same shape: mechanism, pParameter, ulParameterLen. */
const triple = layOut([ulong, pointer, ulong]);
export const TRIPLE = {
  size: triple.size,
  type: triple.offsets[0]!,
  pointer: triple.offsets[1]!,
  length: triple.offsets[2]!,
} as const;

/**
 * CK_C_INITIALIZE_ARGS: four function pointers, flags, pReserved. NSS reads one more pointer after its
 * LibraryParameters, which lie where pReserved is, and wants it NULL.
 */
const initArgs = layOut([pointer, pointer, pointer, pointer, ulong, pointer, pointer]);
export const INIT_ARGS = {
  size: initArgs.size,
  flags: initArgs.offsets[4]!,
  reserved: initArgs.offsets[5]!,
} as const;

/** CK_FUNCTION_LIST: CK_VERSION, then pointers. */
const FIRST_FUNCTION = align(2, POINTER);

/** Where the pointer of the function at this place lies in its function list. */
export function functionOffset(index: number): number {
  return FIRST_FUNCTION + index * POINTER;
}

/** CK_INTERFACE: pInterfaceName, pFunctionList, flags. */
const iface = layOut([pointer, pointer, ulong]);
export const INTERFACE = {
  size: iface.size,
  name: iface.offsets[0]!,
  list: iface.offsets[1]!,
} as const;

/** One field of a structure that a function fills in. */
export interface StructureField {
  readonly name: string;
  readonly offset: number;
  readonly kind: "ulong" | "version" | "text";
  /** How many bytes, for a text. */
  readonly length: number;
}

/** A structure that a function fills in, laid out. */
export interface StructureLayout {
  readonly size: number;
  readonly fields: readonly StructureField[];
}

function structureLayout(name: StructureName): StructureLayout {
  const rows = Object.entries(STRUCTURES[name]);
  const { offsets, size } = layOut(
    rows.map(([, kind]) => (kind === "ulong" ? ulong : kind === "version" ? [2, 1] : [kind.text, 1])),
  );
  const fields = rows.map(([field, kind], i) => ({
    name: field,
    offset: offsets[i]!,
    kind: typeof kind === "object" ? ("text" as const) : kind,
    length: typeof kind === "object" ? kind.text : 0,
  }));
  return { size, fields };
}

/** Every structure of the table, laid out once. */
export const STRUCTURE_LAYOUTS: Readonly<Record<StructureName, StructureLayout>> = {
  info: structureLayout("info"),
  slotInfo: structureLayout("slotInfo"),
  tokenInfo: structureLayout("tokenInfo"),
  sessionInfo: structureLayout("sessionInfo"),
  mechanismInfo: structureLayout("mechanismInfo"),
};
