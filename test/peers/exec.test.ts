/** keywright exec: what the program is given, and how it ends. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { CLIENT, COMMAND, type Programs, rsaAndEc, USER_PIN } from "../support/programs.ts";

const CORE_PATTERN = "/proc/sys/kernel/core_pattern";
const corePattern = existsSync(CORE_PATTERN) ? readFileSync(CORE_PATTERN, "utf8") : undefined;

describe.skipIf(!peer("opensc") || !peer("openssl-pkcs11") || !peer("p11-kit-client"))("keywright exec", () => {
  let programs: Programs;
  beforeAll(async () => {
    programs = await rsaAndEc();
  });
  afterAll(() => programs.end());

  const variables = (text: string) => new Map(text.split("\n").map((line) => line.split(/=(.*)/) as [string, string]));

  test("the program gets what leads to the token, and no PIN, though it is in a declared variable", async () => {
    const declared = programs.read("keys.yaml").replace("pin: { file: user.pin }", "pin: { env: DEMO_PIN }");
    programs.write("by-variable.yaml", declared);
    const exec = (...program: string[]) =>
      programs
        .keywright(["exec", "--file", "by-variable.yaml", "--token", "demo", "--", ...program], {
          env: { DEMO_PIN: USER_PIN, OTHER: "stays" },
        })
        .end();
    const { out } = await exec("env");
    const given = variables(out);
    expect(given.get("P11_KIT_SERVER_ADDRESS")).toMatch(/^unix:path=\/.*\/pkcs11$/);
    expect(given.get("PKCS11_MODULE_PATH")).toBe(CLIENT);
    expect(given.get("PKCS11_PROVIDER_MODULE")).toBe(CLIENT);
    expect(given.get("OPENSSL_CONF")).toMatch(/openssl\.cnf$/);
    expect(given.get("OTHER")).toBe("stays");
    expect(given.has("DEMO_PIN")).toBe(false);
    expect(out).not.toContain(USER_PIN);
    // It was logged in with that PIN all the same.
    const { out: listed } = await exec("pkcs11-tool", "--module", CLIENT, "--login", "--list-objects");
    expect(listed.match(/^Private Key Object/gm)).toHaveLength(2);
  });

  test("the configuration of OpenSSL has the engine, ready, and the system's; one that is set already stays", async () => {
    const { out } = await programs.with(["openssl", "engine", "-t", "pkcs11"]);
    expect(out).toContain("(pkcs11) pkcs11 engine");
    expect(out).toContain("[ available ]");
    const { out: text } = await programs.with(["sh", "-c", 'cat "$OPENSSL_CONF"']);
    expect(text).toContain(".include /etc/ssl/openssl.cnf");
    const kept = await programs.with(["sh", "-c", 'echo "$OPENSSL_CONF"'], { env: { OPENSSL_CONF: "/own.cnf" } });
    expect(kept.out).toBe("/own.cnf\n");
  });

  test("ends with the program's exit code", async () => {
    for (const code of [0, 7, 64, 255]) {
      const ran = await programs.with(["sh", "-c", `exit ${code}`]);
      expect([ran.code, ran.signal]).toEqual([code, null]);
    }
  });

  test("ends by the program's signal", async () => {
    const by = async (signal: string) => {
      const ran = await programs.with(["sh", "-c", `kill -${signal} $$`]);
      return [ran.code, ran.signal];
    };
    for (const signal of ["TERM", "INT", "KILL"]) expect(await by(signal)).toEqual([null, `SIG${signal}`]);
  });

  test("a program that crashes leaves no core file of keywright, and opens no debugger: 128 and the signal", async () => {
    for (const [signal, code] of Object.entries({ SEGV: 139, ABRT: 134, QUIT: 131, XCPU: 152, USR1: 138 })) {
      const ran = await programs.with(["sh", "-c", `ulimit -c 0; kill -${signal} $$`]);
      expect([signal, ran.code, ran.signal, ran.err]).toEqual([signal, code, null, ""]);
    }
  });

  // Elsewhere the kernel hands core files to a program, or to a folder of its own.
  test.runIf(corePattern?.startsWith("core"))("no core file of its own is written; the program's may be", async () => {
    const cores = () => readdirSync(programs.folder).filter((name) => name.startsWith("core"));
    const limited = [process.execPath, COMMAND, "exec", "--state", programs.state, "--token", "demo", "--"];
    const start = async (...program: string[]) => {
      const running = programs.start(["sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", ...limited, ...program]);
      await running.until(() => running.said.includes("ready"));
      return running;
    };
    const crashed = await (await start("sh", "-c", "echo ready; kill -SEGV $$")).end();
    expect([crashed.code, cores().length]).toEqual([139, 1]);
    for (const name of cores()) rmSync(programs.path(name));
    const running = await start("sh", "-c", "echo ready; read line; sleep 0.1");
    const ended = await running.stop("SIGSEGV");
    expect([ended.signal, cores()]).toEqual(["SIGSEGV", []]);
    // It could not clear up.
    for (const left of readdirSync(programs.path("run"))) rmSync(programs.path(`run/${left}`), { recursive: true });
  });

  test("a signal that is sent to it alone is the program's, which says how it ends", async () => {
    for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"] as const) {
      const trap = `trap 'echo told; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
      const running = programs.startWith(["sh", "-c", trap]);
      await running.until(() => running.said.includes("ready"));
      const ran = await running.stop(signal);
      expect([ran.code, ran.out]).toEqual([9, "ready\ntold\n"]);
      expect(readdirSync(programs.path("run"))).toEqual([]);
    }
  });

  test("Ctrl-C and Ctrl-\\ at a terminal reach the program once, without keywright", async () => {
    const trap = `trap 'echo told' INT QUIT; echo ready; n=0; while [ $n -lt 20 ]; do sleep 0.05; n=$((n+1)); done; exit 9`;
    programs.write("trap.sh", trap);
    const words = [
      process.execPath,
      COMMAND,
      "exec",
      "--state",
      programs.state,
      "--token",
      "demo",
      "--",
      "sh",
      "trap.sh",
    ];
    for (const key of ["\\003", "\\034"]) {
      const typed = `while ! grep -q ready seen; do sleep 0.05; done; printf '${key}'; sleep 1.5`;
      programs.write("seen", "");
      const script = `(${typed}) | script -qefc "exec ${words.join(" ")}" seen`;
      const ran = await programs.run(["sh", "-c", script]);
      expect([ran.code, ran.out.match(/told/g)?.length]).toEqual([9, 1]);
    }
  });

  test("nothing is left of it: no socket, no configuration", async () => {
    const { out } = await programs.with(["env"]);
    const folder = dirname(variables(out).get("OPENSSL_CONF")!);
    expect(existsSync(folder)).toBe(false);
    expect(readdirSync(programs.path("run"))).toEqual([]);
  });

  test("options after -- are the program's, those that keywright has too", async () => {
    for (const word of ["--help", "-h", "--json", "--debug", "--version", "--token"]) {
      expect((await programs.with(["sh", "-c", 'echo "$0"', word])).said).toBe(`${word}\n`);
    }
  });

  test("input and output are the program's own", async () => {
    const { out, err } = await programs.with(["sh", "-c", "tr a-z A-Z; echo aside >&2"], { input: "text" });
    expect([out, err]).toEqual(["TEXT", "aside\n"]);
  });

  test("a program that is not there is named", async () => {
    const { code, err } = await programs.with(["no-such-program"]);
    expect(code).toBe(1);
    expect(err).toMatch(/^keywright: error: cannot run no-such-program: .*ENOENT/);
    expect(readdirSync(programs.path("run"))).toEqual([]);
  });
});
