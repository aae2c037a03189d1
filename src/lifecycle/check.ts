/**
 * What a declaration must be beyond the form of its fields: names that exist, ids that differ, issuers that can issue.
 * @module
 */
import { dirname, resolve } from "node:path";
import { parseUri, unknownAttribute } from "../cryptoki/uri.ts";
import { familyOfLibrary, WRITE_AS_USER } from "../families/families.ts";
import { nearest } from "../schema/nearest.ts";
import { URI_PATH } from "../spec/uri.ts";
import { X509Error } from "../x509/errors.ts";
import { checkExtensions } from "../x509/extensions.ts";
import { unfitUsage } from "../x509/key-usages.ts";
import type { Declaration, KeyDeclaration } from "./declaration.ts";
import { checkPaths } from "./paths.ts";
import { addDuration } from "./values.ts";

type Report = (path: readonly string[], message: string, hint: string | undefined) => void;

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
      report(["tokens", name, "uri"], "the token is named by a URI and by label or serial too", "keep one of them");
    }
    if (uri !== undefined && parseUri(uri).query["pin-value"] !== undefined) {
      report(
        ["tokens", name, "uri"],
        "the URI carries a PIN (pin-value), which has no place in a file that others read",
        "use pin, or pin-source",
      );
    }
    const unknown = uri === undefined ? undefined : unknownAttribute(parseUri(uri));
    if (unknown !== undefined) {
      const near = nearest(unknown, Object.keys(URI_PATH));
      const hint = near === undefined ? undefined : `did you mean ${near}?`;
      report(["tokens", name, "uri"], `the URI has the attribute ${unknown}, which is none of RFC 7512`, hint);
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
    report(at("certificate"), "a certificate lacks subject", "declare subject, such as CN=www.example.com");
  }
  if (outside && certificate.issuer !== undefined) {
    report(
      at("certificate", "issuer"),
      "the certificate comes from an outside CA and from a declared key",
      "keep issuer, or csr and import",
    );
  }
  if (algorithm === "Montgomery" && certificate.issuer === undefined && !outside) {
    report(at("certificate"), "a key that cannot sign cannot sign its own certificate", "declare an issuer");
  }
  if (algorithm === "Montgomery" && certificate.csr !== undefined) {
    report(at("certificate", "csr"), "a key that cannot sign cannot sign a request", "declare an issuer");
  }
  if (certificate.issuer === undefined && !outside && algorithm !== "Montgomery" && !key.usage.includes("sign")) {
    report(
      at("usage"),
      "the key signs its own certificate, and its usage does not have sign",
      "add sign to it, or declare an issuer",
    );
  }
  const epoch = new Date(0);
  if (addDuration(epoch, certificate.validity) <= epoch) {
    report(at("certificate", "validity"), "it would have ended when it begins", "declare a validity such as 90d");
  }
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
    report(at("certificate", "pss"), "RSASSA-PSS is for RSA keys", "leave pss out");
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
      report(at, `the issuers go in a circle: ${[...chain, next].join(" <- ")}`, "let the first of them sign its own");
      return;
    }
    chain.push(next);
  }
  if (issuer.certificate === undefined) {
    report(at, `${name} has no certificate, so it cannot issue one`, `declare a certificate for ${name}`);
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
      report(
        at,
        `${tooLong} may have no CA so far below it (pathlen:${pathLength(keys[tooLong]!)})`,
        `give ${tooLong} a greater pathlen, or this key another issuer`,
      );
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
    else
      report(
        ["keys", name, "certificate", "serial"],
        `${other} has the same serial number by the same issuer`,
        "leave one of them out: it gets a random one",
      );
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
      else
        report(
          ["keys", key.name, field],
          `${other} has the same ${field} in the same token: ${value}`,
          "choose another for one of them",
        );
    }
  }
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
