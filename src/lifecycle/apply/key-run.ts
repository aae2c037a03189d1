/**
 * The steps of one key.
 * @module
 */
import { dirname, resolve } from "node:path";
import { digestByName } from "../../cryptoki/mechanisms.ts";
import type { Ulong } from "../../cryptoki/port.ts";
import type { TokenObject } from "../../cryptoki/session/objects.ts";
import { makeFolder, readFile, writeAtomic } from "../../host/files.ts";
import { parseName } from "../../x509/names.ts";
import {
  type CertificateFacts,
  certificatePem,
  fingerprint,
  readCertificate,
  readCertificates,
} from "../../x509/read.ts";
import { makeRequest, requestPem } from "../../x509/requests.ts";
import { signerFor } from "../../x509/signers.ts";
import type { Access, PresentToken, Surroundings } from "../access.ts";
import type { Declaration, KeyDeclaration } from "../declaration.ts";
import { runHook } from "../hooks.ts";
import { finalIdentity, newIdentity } from "../identities.ts";
import { isMarked, keyMarker, type Marker, mark, replacementIn, unmark } from "../markers.ts";
import type { SeenReplacement } from "../observation.ts";
import { isOutside } from "../plan/outside.ts";
import { keyUri, needsIssuers } from "../plan/publish.ts";
import { publicKeysOf, type Step } from "../plan/steps.ts";
import { publish } from "./files.ts";
import {
  ApplyError,
  certificateAt,
  certify,
  generate,
  issuingWith,
  privateKeyAt,
  prove,
  rename,
  retire,
  spkiAt,
  writeCertificate,
} from "./keys.ts";

type StepOf<A extends Step["action"]> = Extract<Step, { action: A }>;

const CHANGES_IDENTITY: readonly Step["action"][] = ["issue", "adopt", "renew", "import", "promote", "archive"];

/** The steps of one key, and what they have made so far. */
export class KeyRun {
  readonly #key: KeyDeclaration;
  readonly #declaration: Declaration;
  readonly #accesses: ReadonlyMap<string, Access>;
  readonly #surroundings: Surroundings;
  /** Objects made in this run under the identity of a replacement, in the order in which they are to be promoted. */
  readonly #made: TokenObject[] = [];
  /** Whether a signature of the key was verified in this run. */
  #proven = false;

  constructor(
    key: KeyDeclaration,
    declaration: Declaration,
    accesses: ReadonlyMap<string, Access>,
    surroundings: Surroundings,
  ) {
    this.#key = key;
    this.#declaration = declaration;
    this.#accesses = accesses;
    this.#surroundings = surroundings;
  }

  get #at(): PresentToken {
    return this.#present(this.#key);
  }

  #present(key: KeyDeclaration): PresentToken {
    const access = this.#accesses.get(key.token);
    if (access?.state === "present") return access;
    throw new ApplyError(`the token ${key.token} of ${key.name} is not there any more`);
  }

  async step(step: Step): Promise<void> {
    // From the first change of what stands under the key's identity, the hook is to run, whatever happens in between.
    if (CHANGES_IDENTITY.includes(step.action) && this.#key.certificate?.hook !== undefined) {
      await mark(this.#hookMarker);
    }
    switch (step.action) {
      case "generate":
        return this.#generate(step);
      case "issue":
      case "adopt":
      case "renew":
        return this.#issue(step);
      case "request":
        return this.#request(step);
      case "import":
        return this.#import(step);
      case "promote":
        return this.#promote(step);
      case "archive":
        return this.#archive(step);
      case "retire":
        return this.#retire(step);
      case "publish":
        return this.#publish(step);
      case "ask":
        return this.#ask(step);
      case "hook":
        return this.#hook(step);
      case "initialise":
      case "initHook":
      case "keep":
      case "wait":
      case "skip":
      case "refuse":
        return;
    }
  }

  async #generate({ identity }: StepOf<"generate">): Promise<void> {
    this.#made.push(...(await generate(this.#at, this.#key, identity)));
  }

  async #archive({ objects, identity }: StepOf<"archive">): Promise<void> {
    await rename(
      this.#at,
      objects.map(({ handle }) => handle),
      identity,
    );
  }

  async #retire({ objects, makesRoom }: StepOf<"retire">): Promise<void> {
    const isCurrent = objects.some(({ id }) => id === this.#key.id);
    if (makesRoom === true && isCurrent) await mark(this.#replacement, { replaces: publicKeysOf(objects) });
    await retire(this.#at, objects);
  }

  /**
   * Nothing of the key is half-done any more.
   * @param seen what was seen of it, for a run that holds no lock: another may have begun something since
   */
  async settled(seen?: SeenReplacement): Promise<void> {
    const marker = this.#replacement;
    if (seen !== undefined && JSON.stringify(replacementIn(marker)) !== JSON.stringify(seen)) return;
    if (isMarked(marker)) await unmark(marker);
  }

  get key(): KeyDeclaration {
    return this.#key;
  }

  async #issue({ identity, certificate }: StepOf<"issue" | "adopt" | "renew">): Promise<void> {
    const issuer = certificate.issuer === undefined ? undefined : this.#declaration.keys[certificate.issuer]!;
    const issuing =
      issuer === undefined
        ? { at: this.#at, identity, certificate: undefined }
        : issuingWith(this.#present(issuer), issuer, await this.#certificateOf(issuer));
    const { object } = await certify(this.#at, this.#key, identity, certificate, issuing);
    this.#made.push(object);
    this.#proven = true;
  }

  /** The certificate that a key has now. */
  async #certificateOf(key: KeyDeclaration): Promise<CertificateFacts> {
    const { session } = this.#present(key);
    const identity = finalIdentity(key);
    const der = await certificateAt(session, identity, await spkiAt(session, identity));
    if (der !== undefined) return readCertificate(der);
    throw new ApplyError(`${key.name} has no certificate in the token`);
  }

  async #request({ identity, path, subject }: StepOf<"request">): Promise<void> {
    const { session } = this.#at;
    const spki = await spkiAt(session, identity);
    await this.#at.unloadKeys();
    const { extensions, digest, pss } = this.#key.certificate!;
    const signer = await signerFor(session, await privateKeyAt(session, identity), {
      digest: digest === undefined ? undefined : digestByName(digest),
      pss,
    });
    const der = await makeRequest(parseName(subject), spki, extensions, signer);
    const whole = resolve(this.#surroundings.folder, path);
    makeFolder(dirname(whole));
    await writeAtomic(whole, requestPem(der), { mode: 0o644 });
  }

  async #import({ identity, path }: StepOf<"import">): Promise<void> {
    const [first] = readCertificates(await readFile(resolve(this.#surroundings.folder, path)));
    const spki = await spkiAt(this.#at.session, identity);
    if (fingerprint(first!.spki) !== fingerprint(spki)) {
      throw new ApplyError(`the certificate in ${path} does not match the key ${this.#key.name}`, {
        hints: ["it was made for another key; send the request of this one again"],
      });
    }
    await prove(this.#at, this.#key, identity, spki);
    const { object } = await writeCertificate(this.#at, first!.der, identity);
    this.#made.push(object);
    this.#proven = true;
  }

  /** The new key takes its place: not before it was seen to work, by this run or by this step. */
  async #promote({ identity, objects, replaces, archive }: StepOf<"promote">): Promise<void> {
    const prepared = newIdentity(this.#key);
    const keyWaits = this.#made.length > 0 || objects.some((object) => object.class === "private");
    const spki = keyWaits ? await spkiAt(this.#at.session, prepared) : undefined;
    if (spki !== undefined && !this.#proven) await prove(this.#at, this.#key, prepared, spki);
    const handles: Ulong[] = [...objects.map(({ handle }) => handle), ...this.#made.map(({ handle }) => handle)];
    // From now on two stand under one identity. An earlier run that moved the private key has noted it.
    if (replaces.length > 0 && spki !== undefined) {
      await mark(this.#replacement, { replaces, by: fingerprint(spki), archive });
    }
    await rename(this.#at, [...new Set(handles)], identity);
  }

  async #publish({ files }: StepOf<"publish">): Promise<void> {
    const certificate = await this.#certificateOf(this.#key);
    // From here until the hook has run, the marker says that it is to run.
    if (this.#key.certificate!.hook !== undefined) await mark(this.#hookMarker);
    const issuers = files.some(({ what }) => needsIssuers(what)) ? await this.#issuersAbove(certificate) : [];
    await publish(files, { certificate: certificate.der, issuers }, this.#uri(), this.#surroundings.folder);
  }

  /** The certificates above one of the key, as far as the plan has seen them. */
  async #issuersAbove(certificate: CertificateFacts): Promise<Uint8Array[]> {
    const ders: Uint8Array[] = [];
    for (let [of, facts] = [this.#key, certificate]; ; ) {
      const { issuer, import: file } = of.certificate!;
      if (isOutside(of)) {
        const sent =
          file === undefined ? [] : readCertificates(await readFile(resolve(this.#surroundings.folder, file)));
        const isIts = sent[0] !== undefined && fingerprint(sent[0].der) === fingerprint(facts.der);
        return [...ders, ...(isIts ? sent.slice(1).map(({ der }) => der) : [])];
      }
      if (issuer === undefined) return ders;
      of = this.#declaration.keys[issuer]!;
      facts = await this.#certificateOf(of);
      ders.push(facts.der);
    }
  }

  get #hookMarker(): Marker {
    return keyMarker("hooks", this.#at, this.#key, this.#surroundings);
  }

  get #replacement(): Marker {
    return keyMarker("replacements", this.#at, this.#key, this.#surroundings);
  }

  #uri(): string {
    return keyUri(this.#at.token.uri, finalIdentity(this.#key));
  }

  async #ask({ hook }: StepOf<"ask">): Promise<void> {
    await this.#callHook(hook, "old", await this.#certificateOf(this.#key));
  }

  async #hook({ hook }: StepOf<"hook">): Promise<void> {
    const certificate = await this.#certificateOf(this.#key);
    await mark(this.#hookMarker);
    await this.#callHook(hook, "new", certificate);
    await unmark(this.#hookMarker);
  }

  #callHook(hook: string, event: "old" | "new", certificate: CertificateFacts): Promise<void> {
    const { folder } = this.#surroundings;
    return runHook(hook, folder, {
      key: this.#key.name,
      event,
      certificate: certificatePem(certificate.der),
      uri: this.#uri(),
      publish: this.#key.certificate!.publish.map(({ path }) => resolve(folder, path)),
    });
  }
}
