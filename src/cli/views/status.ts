/**
 * How the status is shown.
 * @module
 */
import { relative } from "node:path";
import type { KeyStatus, Status } from "../../lifecycle/status.ts";
import type { Style, View } from "../io.ts";
import { table } from "../words.ts";

export const statusView: View<Status> = {
  schema: "keywright/status/1",
  human({ keys, undeclared }, style) {
    const rows = keys.map((key) => [key.key, key.type, key.state, key.notAfter?.slice(0, 10) ?? "-", files(key)]);
    const lines = [table([["KEY", "TYPE", "STATE", "EXPIRES", "FILES"], ...rows]), ""];
    for (const key of keys) {
      if (key.uri !== undefined) lines.push(`${key.key}: ${key.uri}`);
      if (key.remark !== undefined) lines.push(remark(key, style));
      for (const hint of key.hints ?? []) lines.push(style.dim(`  ${hint}`));
    }
    if (undeclared.length > 0) {
      lines.push("", "In the tokens and not declared (never touched):");
      for (const one of undeclared) {
        lines.push(`  ${one.uri}${one.replacedBy === undefined ? "" : style.dim(`  # replaced by ${one.replacedBy}`)}`);
      }
    }
    return lines.join("\n");
  },
};

function files({ files: paths }: KeyStatus): string {
  return paths.length === 0 ? "-" : paths.map((path) => shorter(path)).join(", ");
}

/** The path from here, where that is shorter. */
function shorter(path: string): string {
  const short = relative(process.cwd(), path);
  return short.length < path.length ? short : path;
}

function remark({ key, state, remark: text }: KeyStatus, style: Style): string {
  const said = `${key}: ${text}`;
  return state === "refused" || state === "unreadable" ? style.red(said) : style.yellow(said);
}
