/**
 * A search whose result is only what a client may see.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import type { Args, Awaitable, Cryptoki, Ulong } from "../../cryptoki/port.ts";
import { inSequence } from "../sequence.ts";

const AT_ONCE = 256;

/** Makes a whole search, and asks of each object whether it is visible. */
export function findVisible(
  inner: Cryptoki,
  args: Args<"C_FindObjectsInit">,
  isVisible: (object: Ulong) => Awaitable<boolean>,
): Awaitable<readonly Ulong[]> {
  const { session } = args;
  const found: Ulong[] = [];
  const finish = () => inner.call("C_FindObjectsFinal", { session });
  const more = (): Awaitable<unknown> =>
    after(
      () => inner.call("C_FindObjects", { session, max: AT_ONCE }),
      ({ objects }) => {
        found.push(...objects);
        return objects.length < AT_ONCE ? undefined : more();
      },
    );
  return after(
    () => inner.call("C_FindObjectsInit", args),
    () =>
      after(
        () =>
          after(more, finish, (error) =>
            after(
              finish,
              () => {
                throw error;
              },
              () => {
                throw error;
              },
            ),
          ),
        () =>
          after(
            () =>
              inSequence(found, (object) =>
                after(
                  () => isVisible(object),
                  (is) => (is ? [object] : []),
                ),
              ),
            (visible) => visible.flat(),
          ),
      ),
  );
}
