/** What the system says of a process and of those that it started. */
import { readdirSync, readFileSync } from "node:fs";

/** A process, and those that it started, and so on. */
export function familyOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
    const parent = Number(told(`/proc/${name}/stat`, /^\d+ \(.*\) \S (\d+)/s));
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const family = [pid];
  for (const one of family) family.push(...(children.get(one) ?? []));
  return family;
}

/** Memory of a process and of those that it started, in bytes: what several share counts once in all (PSS). */
export function memoryOf(pid: number): number {
  return familyOf(pid).reduce((sum, one) => sum + kilobytes(told(`/proc/${one}/smaps_rollup`, /^Pss:\s+(\d+)/m)), 0);
}

/** Memory of one process, in bytes (RSS). */
export function residentOf(pid: number): number {
  return kilobytes(told(`/proc/${pid}/status`, /^VmRSS:\s+(\d+)/m));
}

export function threadsOf(pid: number): number {
  return Number(told(`/proc/${pid}/status`, /^Threads:\s+(\d+)/m));
}

export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function kilobytes(text: string): number {
  return Number(text) * 1024;
}

/** What the expression's group finds; "0" of a process that has gone. */
function told(path: string, expression: RegExp): string {
  try {
    return expression.exec(readFileSync(path, "utf8"))?.[1] ?? "0";
  } catch {
    return "0";
  }
}
