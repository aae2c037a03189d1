/**
 * How the outcome of an apply is shown.
 * @module
 */
import type { View } from "../io.ts";
import { count } from "../words.ts";

export interface AppliedValue {
  readonly changed: boolean;
  readonly keys: readonly { readonly key: string; readonly status: string; readonly error?: string }[];
}

export const appliedView: View<AppliedValue> = {
  schema: "keywright/applied/1",
  human({ changed, keys }, style) {
    const with_ = (status: string) => keys.filter((key) => key.status === status).length;
    if (!changed && keys.every(({ status }) => status === "kept")) {
      return `Nothing to do: ${count(keys.length, "key")} as declared.`;
    }
    const parts = (["done", "kept", "waiting", "skipped", "refused", "failed"] as const)
      .filter((status) => with_(status) > 0)
      .map((status) =>
        status === "failed" || status === "refused"
          ? style.red(`${with_(status)} ${status}`)
          : `${with_(status)} ${status}`,
      );
    return `Applied: ${parts.join(", ")}.`;
  },
};
