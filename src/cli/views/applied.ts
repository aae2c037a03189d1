/**
 * How the outcome of an apply is shown.
 * @module
 */
import type { View } from "../io.ts";
import { count, table } from "../words.ts";

export interface AppliedValue {
  readonly changed: boolean;
  readonly keys: readonly { readonly key: string; readonly status: string; readonly error?: string }[];
}

export const appliedView: View<AppliedValue> = {
  schema: "keywright/applied/1",
  human({ changed, keys }, style) {
    if (!changed && keys.every(({ status }) => status === "kept")) {
      return `Nothing to do: ${count(keys.length, "key")} as declared.`;
    }
    const having = (status: string) => keys.filter((key) => key.status === status).length;
    const parts = (["done", "kept", "waiting", "skipped", "refused", "failed"] as const)
      .filter((status) => having(status) > 0)
      .map((status) => {
        const part = `${having(status)} ${status}`;
        return status === "failed" || status === "refused" ? style.red(part) : part;
      });
    return `${table(keys.map(({ key, status }) => [`  ${key}`, status]))}\nApplied: ${parts.join(", ")}.`;
  },
};
