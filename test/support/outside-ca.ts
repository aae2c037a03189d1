/** A CA that openssl keeps in a world's folder, in the files x.crt and x.key. */
import { execFileSync } from "node:child_process";
import type { World } from "./world.ts";

export interface OutsideCa {
  /** Certifies a request; the certificate begins now, and ends after `days`. */
  issue(request: string, certificate: string, days?: number): void;
}

export function outsideCa(w: World): OutsideCa {
  const openssl = (words: string) =>
    execFileSync("openssl", words.split(" "), { cwd: w.folder, stdio: ["ignore", "pipe", "pipe"] });
  openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key -out x.crt -subj /CN=X");
  w.write("x.ext", "basicConstraints=critical,CA:TRUE\n");
  return {
    issue: (request, certificate, days = 30) =>
      openssl(
        `x509 -req -in ${request} -CA x.crt -CAkey x.key -CAcreateserial -extfile x.ext -days ${days} -out ${certificate}`,
      ),
  };
}
