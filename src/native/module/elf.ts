/**
 * Which machine a library was built for, and whether it is all there, from its ELF headers.
 * @module
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** e_machine values that a PC, server, phone or board may have. */
const MACHINES: ReadonlyMap<number, string> = new Map([
  [3, "x86"],
  [8, "MIPS"],
  [20, "PowerPC"],
  [21, "PowerPC 64"],
  [22, "S/390"],
  [40, "ARM"],
  [62, "x86-64"],
  [183, "ARM 64"],
  [243, "RISC-V"],
  [258, "LoongArch"],
]);

/** What this program runs on, in the same terms. */
const HERE: Readonly<Record<string, readonly [machine: number, bits: 32 | 64]>> = {
  x64: [62, 64],
  arm64: [183, 64],
  ia32: [3, 32],
  arm: [40, 32],
  riscv64: [243, 64],
  ppc64: [21, 64],
  s390x: [22, 64],
  loong64: [258, 64],
  mips64el: [8, 64],
};

/** An ELF header is 52 bytes with 32 bits and 64 with 64. */
const SMALLEST_HEADER = 52;
const HEADER = 64;

function describe(machine: number, bits: number): string {
  return `${MACHINES.get(machine) ?? `machine ${machine}`}, ${bits}-bit`;
}

/**
 * What is wrong with a file as a library for this machine: `"built for ARM 64, 64-bit; this program is x86-64, 64-bit"`
 * or `"not an ELF library"`; undefined if nothing is. Only for systems whose libraries are ELF files.
 */
export function elfFault(path: string): string | undefined {
  const file = openSync(path, "r");
  try {
    return headerFault(file);
  } finally {
    closeSync(file);
  }
}

function headerFault(file: number): string | undefined {
  const header = new Uint8Array(HEADER);
  const length = readSync(file, header, 0, header.length, 0);
  const isElf =
    length >= SMALLEST_HEADER && header[0] === 0x7f && String.fromCharCode(...header.subarray(1, 4)) === "ELF";
  if (!isElf) return "not an ELF library";
  // EI_CLASS and EI_DATA, then e_machine in the file's own byte order.
  const bits = header[4] === 2 ? 64 : 32;
  const isLittle = header[5] === 1;
  const machine = new DataView(header.buffer).getUint16(18, isLittle);
  const here = HERE[process.arch];
  if (here === undefined) return undefined;
  if (here[0] === machine && here[1] === bits) return sizeFault(file, header, bits, isLittle);
  return `built for ${describe(machine, bits)}; this program is ${describe(...here)}`;
}

/** Where the fields of the headers are, by the bits of the file: e_phoff, e_shoff, e_phentsize …, p_offset, p_filesz. */
const PLACES = {
  32: { programs: 28, sections: 32, sizes: 42, offset: 4, length: 16 },
  64: { programs: 32, sections: 40, sizes: 54, offset: 8, length: 32 },
} as const;

/** A file that is cut off is mapped beyond its end, which ends the process with SIGBUS. */
function sizeFault(file: number, header: Uint8Array, bits: 32 | 64, isLittle: boolean): string | undefined {
  const place = PLACES[bits];
  const word = (view: DataView, at: number) =>
    bits === 64 ? Number(view.getBigUint64(at, isLittle)) : view.getUint32(at, isLittle);
  const view = new DataView(header.buffer);
  const [entry, entries, sectionEntry, sections] = [0, 2, 4, 6].map((at) => view.getUint16(place.sizes + at, isLittle));
  const programs = word(view, place.programs);
  const { size } = fstatSync(file);
  const ends = [
    HEADER,
    programs + entry! * entries!,
    sections! === 0 ? 0 : word(view, place.sections) + sectionEntry! * sections!,
  ];
  if (Math.max(...ends) <= size && entry! >= place.length + bits / 8) {
    const table = new Uint8Array(entry! * entries!);
    readSync(file, table, 0, table.length, programs);
    const rows = new DataView(table.buffer);
    for (let row = 0; row < table.length; row += entry!) {
      ends.push(word(rows, row + place.offset) + word(rows, row + place.length));
    }
  }
  const wanted = Math.max(...ends);
  return wanted <= size ? undefined : `cut off: it has ${size} bytes where its headers want ${wanted}`;
}
