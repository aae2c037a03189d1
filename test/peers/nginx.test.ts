/** nginx serves TLS with a key of the built-in token, to curl, whose own key is there too. */
import { mkdirSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { freePort, isListening, type Programs, type Running, rsaAndEc, selfSigned } from "../support/programs.ts";

const isHere = peer("nginx") && peer("curl") && peer("openssl-pkcs11") && peer("p11-kit-client");

describe.skipIf(!isHere)("nginx", () => {
  let programs: Programs;
  let port: number;
  let nginx: Running;
  beforeAll(async () => {
    programs = await rsaAndEc(selfSigned("stranger", 3, "EC:secp256r1"));
    port = await freePort();
    mkdirSync(programs.path("tmp"));
    const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${programs.path("tmp")}/${name};`)
      .join(" ");
    programs.write(
      "nginx.conf",
      `daemon off; worker_processes 2; pid ${programs.path("nginx.pid")}; error_log stderr notice;
${process.getuid?.() === 0 ? `user ${userInfo().username};` : ""}
# nginx clears the environment of its workers.
env P11_KIT_SERVER_ADDRESS;
events {}
http {
  access_log off; ${folders}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${programs.path("rsa.pem")};
    ssl_certificate_key "engine:pkcs11:pkcs11:token=demo;object=rsa;type=private";
    ssl_session_cache off; ssl_session_tickets off;
    ssl_client_certificate ${programs.path("ec.pem")}; ssl_verify_client optional;
    location / { return 200 "$pid $connection $ssl_session_reused $ssl_client_verify\\n"; }
  }
}
`,
    );
    nginx = programs.startWith(["nginx", "-e", "stderr", "-c", programs.path("nginx.conf")]);
    await nginx.until(() => isListening(port));
  });
  afterAll(() => programs.end());

  const curl = (...words: string[]) => ["curl", "--silent", "--show-error", "--cacert", "rsa.pem", ...words];
  const url = () => `https://localhost:${port}/`;

  /** Which workers answered a hundred requests, each on a connection and with a handshake of its own. */
  async function workers(): Promise<Set<string>> {
    const many = ["--parallel", "--parallel-max", "4", "--no-sessionid", "-H", "Connection: close"];
    const { code, out } = await programs.run(curl(...many, `${url()}?[1-100]`));
    const answers = out
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    expect([code, answers.length]).toEqual([0, 100]);
    // Not taken up again (`.`), and no certificate sent.
    expect(answers.every(([, , reused, verified]) => reused === "." && verified === "NONE")).toBe(true);
    expect(new Set(answers.map(([, connection]) => connection)).size).toBe(100);
    return new Set(answers.map(([pid]) => pid!));
  }

  test("a hundred requests are answered, by two workers", async () => {
    expect((await workers()).size).toBe(2);
  });

  test("curl's key is in the token as well, and nginx verifies its certificate", async () => {
    const client = (name: string) =>
      programs.with(
        curl(
          ...["--engine", "pkcs11", "--key-type", "ENG", "--key", `pkcs11:token=demo;object=${name};type=private`],
          ...["--cert", `${name}.pem`, url()],
        ),
      );
    expect((await client("ec")).out).toMatch(/ SUCCESS\n$/);
    expect((await client("stranger")).out).toContain("The SSL certificate error");
  });

  test("after a reload new workers answer, and the old ones are gone", async () => {
    const before = await workers();
    process.kill(Number(readFileSync(programs.path("nginx.pid"), "utf8")), "SIGHUP");
    const gone = [...before].map((pid) => `worker process ${pid} exited with code 0`);
    await nginx.until(() => gone.every((line) => nginx.said.includes(line)));
    const after = await workers();
    expect([...after].filter((pid) => before.has(pid))).toEqual([]);
  });

  test("it ends in good order, with no complaint", async () => {
    process.kill(Number(readFileSync(programs.path("nginx.pid"), "utf8")), "SIGQUIT");
    const { code, said } = await nginx.end();
    expect(code).toBe(0);
    expect(said).not.toMatch(/\[(warn|error|crit|alert|emerg)\]|keywright/);
  });
});
