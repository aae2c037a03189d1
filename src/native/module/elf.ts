/**
 * Which machine a library was built for, from its ELF header.
 * @module
 */
import { closeSync, openSync, readSync } from "node:fs";

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

function describe(machine: number, bits: number): string {
  return `${MACHINES.get(machine) ?? `machine ${machine}`}, ${bits}-bit`;
}

/**
 * What is wrong with a file as a library for this machine: `"built for ARM 64, 64-bit; this program is x86-64, 64-bit"`
 * or `"not an ELF library"`; undefined if nothing is. Only for systems whose libraries are ELF files.
 */
export function elfFault(path: string): string | undefined {
  const header = new Uint8Array(20);
  const file = openSync(path, "r");
  let length: number;
  try {
    length = readSync(file, header, 0, header.length, 0);
  } finally {
    closeSync(file);
  }
  const isElf =
    length === header.length && header[0] === 0x7f && String.fromCharCode(...header.subarray(1, 4)) === "ELF";
  if (!isElf) return "not an ELF library";
  // EI_CLASS and EI_DATA, then e_machine in the file's own byte order.
  const bits = header[4] === 2 ? 64 : 32;
  const machine = new DataView(header.buffer).getUint16(18, header[5] === 1);
  const here = HERE[process.arch];
  if (here === undefined || (here[0] === machine && here[1] === bits)) return undefined;
  return `built for ${describe(machine, bits)}; this program is ${describe(...here)}`;
}
