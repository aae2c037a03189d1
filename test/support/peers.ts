import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const LIB = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;

/** Every peer: its Debian package and a file that is there when it is installed; a bare name is looked up in PATH. */
export const PEERS = {
  softhsm2: { package: "softhsm2", file: "/usr/lib/softhsm/libsofthsm2.so" },
  opensc: { package: "opensc", file: "pkcs11-tool" },
  openssl: { package: "openssl", file: "openssl" },
  swtpm: { package: "swtpm", file: "swtpm" },
  tpm2: { package: "libtpm2-pkcs11-1", file: `${LIB}/libtpm2_pkcs11.so.1` },
  nss: { package: "libnss3", file: `${LIB}/libsoftokn3.so` },
  certutil: { package: "libnss3-tools", file: "certutil" },
  "p11-kit-headers": { package: "libp11-kit-dev", file: "/usr/include/p11-kit-1/p11-kit/pkcs11.h" },
  "p11-kit": { package: "p11-kit", file: "p11-kit" },
  "p11-kit-client": { package: "p11-kit-modules", file: `${LIB}/pkcs11/p11-kit-client.so` },
  "nss-headers": { package: "libnss3-dev", file: "/usr/include/nss/pkcs11t.h" },
  expect: { package: "expect", file: "expect" },
  "ssh-keygen": { package: "openssh-client", file: "ssh-keygen" },
  sshd: { package: "openssh-server", file: "/usr/sbin/sshd" },
  gnutls: { package: "gnutls-bin", file: "p11tool" },
  "openssl-pkcs11": { package: "libengine-pkcs11-openssl", file: `${LIB}/engines-3/pkcs11.so` },
  nginx: { package: "nginx", file: "/usr/sbin/nginx" },
  curl: { package: "curl", file: "curl" },
  java: { package: "default-jdk-headless", file: "javac" },
  gpgsm: { package: "gpgsm", file: "gpgsm" },
  "gnupg-pkcs11-scd": { package: "gnupg-pkcs11-scd", file: "gnupg-pkcs11-scd" },
  python3: { package: "python3-minimal", file: "python3" },
} as const;

export type Peer = keyof typeof PEERS;

/** Where a peer's file is; undefined if it is not installed. */
export function peerPath(name: Peer): string | undefined {
  const { file } = PEERS[name];
  const candidates = file.startsWith("/")
    ? [file]
    : (process.env.PATH ?? "").split(delimiter).map((p) => join(p, file));
  return candidates.find((path) => existsSync(path));
}

/** Whether a peer is here; use with `test.skipIf(!peer("softhsm2"))`. */
export function peer(name: Peer): boolean {
  return peerPath(name) !== undefined;
}

/** The names of the peers that are not installed, with their packages. */
export function missingPeers(): string[] {
  return (Object.keys(PEERS) as Peer[])
    .filter((name) => !peer(name))
    .map((name) => `${name} (package ${PEERS[name].package})`);
}
