/** Writes private objects to a store and says so of each once it is told that it is stored: store, slot, name, count. */
import { writeSync } from "node:fs";
import { softToken } from "../../src/softtoken/index.ts";
import { application, openSession, PIN, template } from "./plain.ts";

const [store, slot, name, count] = process.argv.slice(2) as [string, string, string, string];
const own = softToken({ store, scryptCost: 10 });
const app = await application(own);
const session = await openSession(app, Number(slot));
await app.call("C_Login", { session, userType: 1, pin: PIN });
for (let i = 0; i < Number(count); i += 1) {
  const label = `${name}-${i}`;
  await app.call("C_CreateObject", {
    session,
    template: template({
      CKA_CLASS: 4,
      CKA_KEY_TYPE: 0x10,
      CKA_TOKEN: true,
      CKA_SENSITIVE: false,
      CKA_EXTRACTABLE: true,
      CKA_LABEL: label,
      CKA_VALUE: `value of ${label}`,
    }),
  });
  writeSync(1, `${label}\n`);
}
await own.close();
