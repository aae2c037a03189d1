// Applies a declaration with the built library and kills itself at one step: kill.child.mjs FOLDER NOW AT
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { apply, openModule, readDeclaration, readPin } from "../../dist/index.js";

const [folder, now, at] = process.argv.slice(2);
const state = join(folder, "state");
const declaration = await readDeclaration(readFileSync(join(folder, "keys.yaml"), "utf8"), join(folder, "keys.yaml"));

let passed = 0;
function pass() {
  if (passed === Number(at)) process.kill(process.pid, "SIGKILL");
  passed += 1;
}

await apply(
  declaration,
  {
    folder,
    state,
    now: () => new Date(now),
    open: ({ module, environment, store }) =>
      openModule(module, {
        state,
        ...(module === "softtoken" ? { scryptCost: 10 } : {}),
        ...(environment === undefined ? {} : { environment }),
        ...(store === undefined ? {} : { store: join(folder, store) }),
      }),
    readPin: (source, purpose) => readPin(source, { folder, purpose }),
  },
  { confirm: () => Promise.resolve(true), progress: { begin: pass, end: pass } },
);
process.stdout.write(String(passed));
