/**
 * `keywright module-path`
 * @module
 */
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { clientLibrary } from "../serving/socket.ts";

export const spec = command({
  name: "module-path",
  summary: "print the library that programs load to use what keywright serve or exec offers",
  options: {},
  notes: ["It is p11-kit's client, p11-kit-client.so. It finds its server by P11_KIT_SERVER_ADDRESS."],
  examples: ["keywright exec --token demo -- sh -c 'pkcs11-tool --module \"$(keywright module-path)\" -O'"],
});

export async function run(_input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  io.out(clientLibrary());
  return EXIT.done;
}
