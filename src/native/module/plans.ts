/**
 * The plan of every function, made once from the rows of spec/functions.ts.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import { checkSize } from "../../cryptoki/checks.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Awaitable, FunctionName } from "../../cryptoki/port.ts";
import { FUNCTIONS, type FunctionRow, type OutputKind } from "../../spec/functions.ts";
import type { StructureName } from "../../spec/structures.ts";
import { spaceFor } from "./arena.ts";
import { attributesPlan } from "./attributes.ts";
import { INPUTS } from "./inputs.ts";
import { STRUCTURE_LAYOUTS, ULONG } from "./layout.ts";
import { type AnyReply, type Plan, PlanBuilder } from "./plan.ts";
import { readStructure } from "./structures.ts";

type AddOutput = (b: PlanBuilder, name: string) => void;

function structureOutput(kind: StructureName): AddOutput {
  return (b, name) => {
    const layout = STRUCTURE_LAYOUTS[kind];
    const at = fixedOutput(b, layout.size);
    b.reads.push((arena, reply) => {
      reply[name] = readStructure(arena, at, layout);
    });
  };
}

/** A pointer to a part that the function fills in; answers its offset. */
function fixedOutput(b: PlanBuilder, size: number): number {
  const { arg, at } = b.pointerTo(size);
  b.steps.push({
    name: "",
    write(arena, argv) {
      argv[arg] = arena.address + at;
    },
  });
  return at;
}

const OUTPUTS: Readonly<Record<Exclude<OutputKind, "output" | "found" | "random" | "ulongs" | "values">, AddOutput>> = {
  ulong(b, name) {
    const at = fixedOutput(b, ULONG);
    b.reads.push((arena, reply) => {
      reply[name] = arena.ulong(at);
    });
  },
  info: structureOutput("info"),
  slotInfo: structureOutput("slotInfo"),
  tokenInfo: structureOutput("tokenInfo"),
  sessionInfo: structureOutput("sessionInfo"),
  mechanismInfo: structureOutput("mechanismInfo"),
};

/** C_FindObjects: an array, how many it may take, and a pointer to how many it took. */
function addFound(b: PlanBuilder, name: string, countName: string): void {
  const array = b.argument("uintptr_t");
  const max = b.argument("ulong");
  const count = fixedOutput(b, ULONG);
  b.steps.unshift({
    name: countName,
    space(entries: number) {
      checkSize(b.fn, countName, entries);
      return spaceFor(entries * ULONG);
    },
    write(arena, argv, entries: number) {
      argv[array] = arena.address + arena.take(entries * ULONG);
      argv[max] = entries;
    },
  });
  b.reads.push((arena, reply, values) => {
    const found = Math.min(Number(arena.ulong(count)), values[countName] as number);
    reply[name] = Array.from({ length: found }, (_, i) => arena.ulong(b.fixed + i * ULONG));
  });
}

/** C_GenerateRandom: a buffer and its length. */
function addRandom(b: PlanBuilder, name: string, countName: string): void {
  const buffer = b.argument("uintptr_t");
  const length = b.argument("ulong");
  b.steps.unshift({
    name: countName,
    space(count: number) {
      checkSize(b.fn, countName, count);
      return spaceFor(count);
    },
    write(arena, argv, count: number) {
      argv[buffer] = arena.address + arena.take(count);
      argv[length] = count;
    },
  });
  b.reads.push((arena, reply, values) => {
    reply[name] = arena.copy(b.fixed, values[countName] as number);
  });
}

const ENTRIES = "entries";

/** C_GetSlotList and C_GetMechanismList: an array or NULL, and a pointer to how many entries. */
function addList(b: PlanBuilder): void {
  const array = b.argument("uintptr_t");
  const count = b.pointerTo(ULONG);
  b.hasRoom = true;
  b.steps.unshift({
    name: ENTRIES,
    space: (entries: number | null) => (entries === null ? 0 : spaceFor(entries * ULONG)),
    write(arena, argv, entries: number | null) {
      argv[array] = entries === null ? 0 : arena.address + arena.take(entries * ULONG);
      argv[count.arg] = arena.address + count.at;
      arena.setUlong(count.at, entries ?? 0);
    },
  });
  b.reads.push((arena, reply, values, fits) => {
    const answered = Number(arena.ulong(count.at));
    const entries = values[ENTRIES] as number | null;
    if (!fits || entries === null) reply.needed = answered;
    else reply.list = Array.from({ length: Math.min(answered, entries) }, (_, i) => arena.ulong(b.fixed + i * ULONG));
  });
}

/** How often a list may grow between two calls before that is an error. */
const LIST_TRIES = 5;

/** How long a list may be. Slots and mechanisms are counted in tens. */
const MOST_ENTRIES = 0x10_0000;

/**
 * Asks how many, then for the list, again if it grew meanwhile. Asking first is not only for the size: it is what makes
 * a module look for slots anew.
 */
function listPlan(fn: FunctionName, once: Plan, name: string): Plan {
  return {
    types: once.types,
    run(calling, cFunction, values) {
      const ask = (entries: number | null, tries: number): Awaitable<AnyReply> =>
        after(
          () => once.run(calling, cFunction, { ...values, [ENTRIES]: entries }),
          ({ list, needed }) => {
            if (list !== undefined) return { [name]: list };
            if (needed === 0) return { [name]: [] };
            if ((needed as number) > MOST_ENTRIES) {
              throw new CryptokiError(fn, "CKR_GENERAL_ERROR", `the module says that the list has ${needed} entries`);
            }
            if (tries === 0) throw new CryptokiError(fn, "CKR_GENERAL_ERROR", "the list grows with every call");
            return ask(needed as number, tries - 1);
          },
        );
      return ask(null, LIST_TRIES);
    },
  };
}

function makePlan(fn: FunctionName): Plan {
  const row: FunctionRow = FUNCTIONS[fn];
  const [[output, kind] = ["", "output"] as const] = Object.entries(row.out);
  if (kind === "values") return attributesPlan(fn);
  const b = new PlanBuilder(fn);
  for (const [name, input] of Object.entries(row.in)) {
    if (input === "count") (kind === "found" ? addFound : addRandom)(b, output, name);
    else if (input !== "requests") INPUTS[input](b, name);
  }
  for (const [name, out] of Object.entries(row.out)) {
    if (out in OUTPUTS) OUTPUTS[out as keyof typeof OUTPUTS](b, name);
  }
  if (kind === "ulongs") addList(b);
  // Its reserved pointer is the one input that comes after the output.
  if (fn === "C_WaitForSlotEvent") b.argument("uintptr_t");
  return kind === "ulongs" ? listPlan(fn, b.build(), output) : b.build();
}

/** Every plan, by function. */
export const PLANS: Readonly<Record<FunctionName, Plan>> = Object.fromEntries(
  (Object.keys(FUNCTIONS) as FunctionName[]).map((fn) => [fn, makePlan(fn)]),
) as Record<FunctionName, Plan>;
