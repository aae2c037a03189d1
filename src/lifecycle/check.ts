/**
 * What a declaration must be beyond the form of its fields: names that exist, ids that differ, issuers that can issue.
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { parseUri } from "../cryptoki/uri.ts";
import { familyOfLibrary, WRITE_AS_USER } from "../families/families.ts";
import { realPath } from "../host/paths.ts";
import { X509Error } from "../x509/errors.ts";
import { checkExtensions } from "../x509/extensions.ts";
import { unfitUsage } from "../x509/key-usages.ts";
import type { Declaration, KeyDeclaration } from "./declaration.ts";
import { nearest } from "./schema/nearest.ts";
import { addDuration } from "./values.ts";

type Report = (path: readonly string[], message: string, hint?: string) => void;

/** Reports every fault that one field alone does not show. */
export function checkDeclaration(declaration: Declaration, report: Report): void {
  for (const key of Object.values(declaration.keys)) {
    checkKey(declaration, key, report);
    checkIssuer(declaration, key, report);
  }
  checkIdentities(declaration, report);
  checkSerials(declaration, report);
  checkTwins(declaration, report);
  checkPaths(declaration, report);
  checkTokens(declaration, report);
}

function checkTokens({ tokens }: Declaration, report: Report): void {
  for (const { name, uri, label, serial, slot, module, soPin, writeAs } of Object.values(tokens)) {
    const { initialise, title, soMakesKeys } = familyOfLibrary(module);
    if (writeAs === "so" && soMakesKeys === false) {
      report(["tokens", name, "writeAs"], `the SO of ${title} neither sees nor makes private keys`, WRITE_AS_USER);
    } else if (writeAs === "so" && soPin === undefined) {
      report(["tokens", name, "writeAs"], "the SO is to write, and there is no soPin", "declare where it comes from");
    }
    if (initialise === "pin" && soPin !== undefined) {
      report(["tokens", name, "soPin"], `${title} has no SO PIN`, "leave it out: the user PIN initialises the token");
    }
    if (uri !== undefined && (label !== undefined || serial !== undefined)) {
      report(["tokens", name, "uri"], "the token is named by a URI and by label or serial too: keep one");
    }
    if (uri !== undefined && parseUri(uri).query["pin-value"] !== undefined) {
      report(
        ["tokens", name, "uri"],
        "the URI carries a PIN (pin-value), which has no place in a file that others read",
        "use pin, or pin-source",
      );
    }
    if (uri === undefined && label === undefined && serial === undefined && slot === undefined) {
      report(["tokens", name], "it is not said which token is meant", "give its label, serial or URI");
    }
  }
}

function checkKey({ tokens }: Declaration, key: KeyDeclaration, report: Report): void {
  const at = (...names: string[]) => ["keys", key.name, ...names];
  if (!Object.hasOwn(tokens, key.token)) {
    const near = nearest(key.token, Object.keys(tokens));
    report(at("token"), `there is no token ${JSON.stringify(key.token)}`, near && `did you mean ${near}?`);
  }
  const { algorithm } = key.type;
  const unfit = unfitUsage(algorithm, key.usage);
  if (unfit !== undefined) report(at("usage"), unfit.message, unfit.hint);
  const { certificate } = key;
  if (certificate === undefined) return;
  const outside = certificate.csr !== undefined || certificate.import !== undefined;
  if (certificate.subject === undefined && (!outside || certificate.csr !== undefined)) {
    report(at("certificate"), "a certificate lacks subject");
  }
  if (outside && certificate.issuer !== undefined) {
    report(at("certificate", "issuer"), "the certificate comes from an outside CA and from a declared key: keep one");
  }
  if (algorithm === "Montgomery" && certificate.issuer === undefined && !outside) {
    report(at("certificate"), "a key that cannot sign cannot sign its own certificate", "declare an issuer");
  }
  if (algorithm === "Montgomery" && certificate.csr !== undefined) {
    report(at("certificate", "csr"), "a key that cannot sign cannot sign a request");
  }
  if (certificate.issuer === undefined && !outside && algorithm !== "Montgomery" && !key.usage.includes("sign")) {
    report(at("usage"), "the key signs its own certificate, and its usage does not have sign");
  }
  const epoch = new Date(0);
  if (
    certificate.renewBefore !== undefined &&
    addDuration(epoch, certificate.renewBefore) >= addDuration(epoch, certificate.validity)
  ) {
    report(
      at("certificate", "renewBefore"),
      "it would be renewed on every run",
      "renewBefore is shorter than validity",
    );
  }
  if (certificate.pss && algorithm !== "RSA" && certificate.issuer === undefined) {
    report(at("certificate", "pss"), "RSASSA-PSS is for RSA keys");
  }
}

function checkIssuer({ keys }: Declaration, key: KeyDeclaration, report: Report): void {
  const name = key.certificate?.issuer;
  if (name === undefined) return;
  const at = ["keys", key.name, "certificate", "issuer"];
  const issuer = Object.hasOwn(keys, name) ? keys[name] : undefined;
  if (issuer === undefined) {
    const near = nearest(name, Object.keys(keys));
    report(at, `there is no key ${JSON.stringify(name)}`, near && `did you mean ${near}?`);
    return;
  }
  const chain = [key.name];
  for (let next: string | undefined = name; next !== undefined; next = keys[next]?.certificate?.issuer) {
    if (chain.includes(next)) {
      report(at, `the issuers go in a circle: ${[...chain, next].join(" <- ")}`);
      return;
    }
    chain.push(next);
  }
  if (issuer.certificate === undefined) {
    report(at, `${name} has no certificate, so it cannot issue one`);
  } else if (issuer.certificate.import === undefined && !saysCa(issuer.certificate.extensions)) {
    report(at, `${name} is no CA`, `give ${name} the extension basicConstraints=critical,CA:TRUE`);
  } else if (!signsCertificates(issuer.certificate.extensions)) {
    report(
      at,
      `the keyUsage of ${name} does not let it issue certificates`,
      `give it keyUsage=critical,keyCertSign,cRLSign`,
    );
  } else if (saysCa(key.certificate!.extensions)) {
    const tooLong = chain.slice(1).find((above, i) => (pathLength(keys[above]!) ?? i + 1) < i + 1);
    if (tooLong !== undefined) {
      report(at, `${tooLong} may have no CA so far below it (pathlen:${pathLength(keys[tooLong]!)})`);
    }
  }
  if (!issuer.usage.includes("sign")) report(at, `${name} may not sign`, `give ${name} the usage sign`);
}

/** Whether extensions make a certificate a CA's. */
export function saysCa(extensions: readonly string[]): boolean {
  return extensions.some(
    (text) => text.trim() === "v3_ca" || /^basicConstraints=.*\bCA:TRUE\b/i.test(text.replaceAll(" ", "")),
  );
}

/** One token under two names would be looked after twice. */
function checkTwins({ tokens, file }: Declaration, report: Report): void {
  const taken = new Map<string, string>();
  for (const { name, module, store, environment, reserved, uri, label, serial, slot } of Object.values(tokens)) {
    const where = store === undefined ? undefined : resolve(dirname(file), store);
    const selected = JSON.stringify([module, where, environment, reserved, uri, label, serial, slot]);
    const other = taken.get(selected);
    if (other === undefined) taken.set(selected, name);
    else report(["tokens", name], `it is the same token as ${other}`, "declare it once, under one name");
  }
}

/** RFC 5280 4.1.2.2: no two certificates of an issuer have one serial number. */
function checkSerials({ keys }: Declaration, report: Report): void {
  const taken = new Map<string, string>();
  for (const { name, certificate } of Object.values(keys)) {
    if (certificate?.serial === undefined) continue;
    const serial = JSON.stringify([certificate.issuer ?? name, BigInt(certificate.serial).toString()]);
    const other = taken.get(serial);
    if (other === undefined) taken.set(serial, name);
    else report(["keys", name, "certificate", "serial"], `${other} has the same serial number by the same issuer`);
  }
}

/** RFC 5280 4.2.1.3: where there is a key usage, it has to say so. */
function signsCertificates(extensions: readonly string[]): boolean {
  const usage = extensions.find((text) => /^\s*keyUsage\s*=/.test(text));
  return usage === undefined || /\bkeyCertSign\b/.test(usage);
}

/** pathLenConstraint (RFC 5280 4.2.1.9); undefined where there is none. */
function pathLength({ certificate }: KeyDeclaration): number | undefined {
  const length = certificate?.extensions.flatMap(
    (text) => /^\s*basicConstraints\s*=.*\bpathlen:(\d+)/i.exec(text)?.[1] ?? [],
  );
  return length?.[0] === undefined ? undefined : Number(length[0]);
}

function checkIdentities({ keys }: Declaration, report: Report): void {
  const taken = new Map<string, string>();
  for (const key of Object.values(keys)) {
    for (const [field, value] of [
      ["id", `0x${key.id}`],
      ["label", key.label],
    ] as const) {
      const identity = JSON.stringify([key.token, field, value]);
      const other = taken.get(identity);
      if (other === undefined) taken.set(identity, key.name);
      else report(["keys", key.name, field], `${other} has the same ${field} in the same token: ${value}`);
    }
  }
}

/** A file that is written is no other's, and none that is read; also where two paths meet through a link. */
function checkPaths({ tokens, keys, file }: Declaration, report: Report): void {
  const at = placesIn(dirname(resolve(file)));
  const read = new Map<string, string>();
  // A file is read through a link, and written in its place: both are in use.
  const reads = (path: string, what: string) => read.set(at(path), what).set(realPath(at(path)), what);
  reads(basename(file), "the declaration itself");
  for (const { name, pin, soPin, store, initHook } of Object.values(tokens)) {
    for (const source of [pin, soPin]) {
      if (source !== undefined && "file" in source) reads(source.file, `a PIN file of ${name}`);
    }
    if (store !== undefined) reads(store, `the store of ${name}`);
    if (initHook !== undefined) reads(initHook, `the initHook of ${name}`);
  }
  for (const { name, certificate } of Object.values(keys)) {
    if (certificate?.hook !== undefined) reads(certificate.hook, `the hook of ${name}`);
    if (certificate?.import !== undefined) reads(certificate.import, `the import file of ${name}`);
  }
  const taken = new Map<string, string>();
  for (const { name, certificate } of Object.values(keys)) {
    const paths = (certificate?.publish ?? []).map(({ path }, i) => [["publish", String(i), "path"], path] as const);
    const csr = certificate?.csr === undefined ? [] : [[["csr"], certificate.csr] as const];
    for (const [field, path] of [...paths, ...csr]) {
      const place = ["keys", name, "certificate", ...field];
      const other = taken.get(at(path));
      if (read.has(at(path)))
        report(place, `${path} is ${read.get(at(path))}, and would be lost`, "choose another path");
      else if (other !== undefined) report(place, `${path} is written for ${other} already`);
      else taken.set(at(path), name);
    }
  }
}

/** Where a file of a path is written: its folder's real path, asked for once, and its name. */
function placesIn(folder: string): (path: string) => string {
  const folders = new Map<string, string>();
  return (path) => {
    const whole = resolve(folder, path);
    const above = dirname(whole);
    const real = folders.get(above) ?? realPath(above);
    folders.set(above, real);
    return join(real, basename(whole));
  };
}

/** Checks the syntax of the extensions that certificates are to have. */
export function checkExtensionSyntax(declaration: Declaration, report: Report): void {
  for (const { name, certificate } of Object.values(declaration.keys)) {
    for (const [i, extension] of (certificate?.extensions ?? []).entries()) {
      try {
        checkExtensions([extension]);
      } catch (error) {
        if (!(error instanceof X509Error)) throw error;
        report(["keys", name, "certificate", "extensions", String(i)], error.message, error.hints[0]);
      }
    }
  }
}
