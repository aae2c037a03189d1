// Logs in as the user and is killed at the C_Login: kill.child.mjs REFERENCE STATE PIN before|during|after
import { Module } from "../../dist/cryptoki/module.js";
import { Pin } from "../../dist/cryptoki/pin.js";
import { openGuarded } from "../../dist/modules/guarded.js";
import { PinMemory } from "../../dist/pins/memory.js";

const [reference, state, pin, when] = process.argv.slice(2);
const die = () => process.kill(process.pid, "SIGKILL");
const layer = (inner) => ({
  call: (fn, args) => {
    if (fn !== "C_Login") return inner.call(fn, args);
    if (when === "before") die();
    const answer = (async () => inner.call(fn, args))();
    if (when === "during") die();
    return answer.finally(die);
  },
});
const provider = openGuarded(JSON.parse(reference), { memory: new PinMemory(state) }, layer);
const token = await (await Module.open(provider)).token({ label: "killed" });
await token.withSession({ user: "USER", pin: Pin.from(pin) }, () => undefined);
