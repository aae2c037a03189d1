/**
 * What the guard remembers of failed logins, between runs: enough to recognise the same PIN, too little to reveal it.
 * @module
 */
import { createHash, randomBytes, scrypt } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Structure } from "../cryptoki/port.ts";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { makePrivateFolder, readFile, writeAtomic } from "../host/files.ts";
import { withLocks } from "../host/locks.ts";

/** Which token: what it says of itself, and, where its serial says nothing, how it was reached. */
export interface TokenIdentity {
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly label: string;
  /** The module's real path, environment and `pReserved`, digested; absent where the serial tells tokens apart. */
  readonly via?: string;
}

/** One PIN that was refused: a salt and twelve bits of scrypt, in hexadecimal. */
export interface Refused {
  readonly salt: string;
  readonly bits: string;
  readonly at: string;
}

/**
 * A login under way. Nothing of its PIN, which most likely is the right one: what is kept of that at each login would add
 * up to all of it.
 */
interface Pending {
  readonly at: string;
  /** How many PINs the token had refused before it, where it tells. */
  readonly refused?: number;
}

/** What is remembered of one role at one token. */
export interface RoleMemory {
  readonly refused: readonly Refused[];
  /** A login that was sent while nobody was there, and whose outcome was never recorded. */
  readonly pending?: Pending;
  /** Failures while nobody was there, since the last success. */
  readonly unattended: number;
}

interface MemoryFile {
  readonly version: 1;
  tokens: { identity: TokenIdentity; roles: Partial<Record<"USER" | "SO", RoleMemory>> }[];
}

const NOTHING: RoleMemory = { refused: [], unattended: 0 };
/** N=2^14, r=8: about 50 ms. Twelve bits are kept, so that 1 wrong PIN in 4096 is taken for the remembered one. */
const COST = { N: 1 << 14, r: 8, p: 1 };

/** A serial of blanks or zeroes is the same for every token of its kind (NSS, TPM2). */
export function identityOf(info: Structure<"tokenInfo">, reach: string): TokenIdentity {
  const { manufacturerID: manufacturer, model, serialNumber: serial, label } = info;
  const identity = { manufacturer, model, serial, label };
  if (/[^0 ]/.test(serial)) return identity;
  return { ...identity, via: createHash("sha256").update(reach).digest("hex").slice(0, 16) };
}

/** The memory, a file of 0600 in the state folder. Every change is made under a lock. */
export class PinMemory {
  readonly #folder: string;

  /** @param folder the state folder; made when needed */
  constructor(folder: string) {
    this.#folder = folder;
  }

  get #path(): string {
    return join(this.#folder, "pins.json");
  }

  async #read(): Promise<MemoryFile> {
    try {
      const file = JSON.parse((await readFile(this.#path)).toString()) as MemoryFile;
      if (file.version === 1 && !Array.isArray(file.tokens)) throw new Error("it is damaged");
      if (file.version !== 1)
        throw new HostError(`${this.#path} is of version ${file.version}, this is a reader of version 1`);
      return file;
    } catch (error) {
      if (systemCode(error) === "ENOENT") return { version: 1, tokens: [] };
      if (error instanceof HostError) throw error;
      throw new HostError(`cannot read what is remembered of wrong PINs in ${this.#path}: ${explainSystem(error)}`, {
        cause: error,
        hints: [
          "without it a wrong PIN might be tried twice; mend the file, or remove it if you know the PINs to be right",
        ],
      });
    }
  }

  /** Keeps others from logging in to the same token meanwhile, so that two runs never spend a try on one wrong PIN. */
  exclusively<T>(identity: TokenIdentity, use: () => Promise<T>): Promise<T> {
    const name = createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 16);
    return withLocks([`login-${name}`], { folder: join(this.#folder, "locks"), purpose: "a login" }, use);
  }

  async recall(identity: TokenIdentity, role: "USER" | "SO"): Promise<RoleMemory> {
    const { tokens } = await this.#read();
    return tokens.find((token) => same(token.identity, identity))?.roles[role] ?? NOTHING;
  }

  /** Changes what is remembered of a role; undefined forgets it. */
  async remember(identity: TokenIdentity, role: "USER" | "SO", memory: RoleMemory | undefined): Promise<void> {
    makePrivateFolder(this.#folder);
    await withLocks(["pins"], { folder: join(this.#folder, "locks"), purpose: "noting a login" }, async () => {
      const file = await this.#read();
      let token = file.tokens.find((entry) => same(entry.identity, identity));
      if (token === undefined) {
        if (memory === undefined) return;
        token = { identity, roles: {} };
        file.tokens.push(token);
      }
      if (memory === undefined) delete token.roles[role];
      else token.roles[role] = memory;
      file.tokens = file.tokens.filter((entry) => Object.keys(entry.roles).length > 0);
      await writeAtomic(this.#path, `${JSON.stringify(file, undefined, 2)}\n`);
    });
  }

  /** The tokens of which anything is remembered. */
  async tokens(): Promise<TokenIdentity[]> {
    return (await this.#read()).tokens.map(({ identity }) => identity);
  }

  /** Forgets everything about the tokens that match; answers how many those were. */
  async forget(matches: (identity: TokenIdentity) => boolean): Promise<number> {
    const wanted = (await this.tokens()).filter(matches);
    for (const identity of wanted) {
      await this.remember(identity, "USER", undefined);
      await this.remember(identity, "SO", undefined);
    }
    return wanted.length;
  }
}

function same(a: TokenIdentity, b: TokenIdentity): boolean {
  return (
    a.manufacturer === b.manufacturer &&
    a.model === b.model &&
    a.serial === b.serial &&
    a.label === b.label &&
    a.via === b.via
  );
}

const derive = promisify<Uint8Array, Uint8Array, number, { N: number; r: number; p: number }, Buffer>(scrypt);

async function bitsOf(pin: Uint8Array, salt: Uint8Array): Promise<string> {
  const key = await derive(pin, salt, 2, COST);
  return key.toString("hex").slice(0, 3);
}

/** What is kept of a PIN that was refused. */
export async function refusal(pin: Uint8Array, now: Date): Promise<Refused> {
  const salt = randomBytes(16);
  return { salt: salt.toString("hex"), bits: await bitsOf(pin, salt), at: now.toISOString() };
}

/** The refusal that this PIN is remembered by; undefined if it is another PIN. */
export async function recognise(pin: Uint8Array, refused: readonly Refused[]): Promise<Refused | undefined> {
  for (const one of refused) {
    if ((await bitsOf(pin, Buffer.from(one.salt, "hex"))) === one.bits) return one;
  }
  return undefined;
}
