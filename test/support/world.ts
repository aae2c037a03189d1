/**
 * A folder with a declaration, a token and a state folder, and the lifecycle run on it in this process.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Module } from "../../src/cryptoki/module.ts";
import type { Cryptoki, Provider } from "../../src/cryptoki/port.ts";
import type { Session } from "../../src/cryptoki/session/session.ts";
import { type Surroundings, withTokens } from "../../src/lifecycle/access.ts";
import { type Applied, type ApplyOptions, apply, usedTokens } from "../../src/lifecycle/apply/apply.ts";
import { type Declaration, readDeclaration, type TokenDeclaration } from "../../src/lifecycle/declaration.ts";
import type { Observation } from "../../src/lifecycle/observation.ts";
import { observe } from "../../src/lifecycle/observe.ts";
import { plan } from "../../src/lifecycle/plan/plan.ts";
import type { Plan, Step } from "../../src/lifecycle/plan/steps.ts";
import { declaredModule, reachOfDeclared, requireAllShown } from "../../src/modules/declared.ts";
import { openGuarded } from "../../src/modules/guarded.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { readPin } from "../../src/pins/sources.ts";

export interface WorldOptions {
  /** The token's declaration, without its PINs: `{ module: softtoken, store: t.db, label: demo }`. */
  readonly token: string;
  /** Whether PINs are declared: both by default, the user's alone, or none. */
  readonly pins?: "both" | "user" | "none";
  /** The keys, as YAML of two blanks' indent. */
  readonly keys: string;
  /** Put around the module's Cryptoki, below the PIN guard. */
  readonly layer?: (inner: Cryptoki) => Cryptoki;
}

/** What a test can do with it. */
export class World {
  readonly folder: string = mkdtempSync(join(tmpdir(), "keywright-world-"));
  now: Date = new Date("2026-11-21T12:00:00Z");
  layer: ((inner: Cryptoki) => Cryptoki) | undefined;
  attended = false;
  /** The state folder; one of its own by default. */
  state: string = join(this.folder, "state");
  readonly #token: string;

  constructor(options: WorldOptions) {
    const pins = {
      both: ", pin: { file: user.pin }, soPin: { file: so.pin }",
      user: ", pin: { file: user.pin }",
      none: "",
    };
    this.#token = options.token.replace(/ \}$/, `${pins[options.pins ?? "both"]} }`);
    this.layer = options.layer;
    this.write("user.pin", "1234-user\n", 0o600);
    this.write("so.pin", "so-12345678\n", 0o600);
    this.declare(options.keys);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text, { mode });
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  /** Replaces the declared keys. */
  declare(keys: string): void {
    this.write("keys.yaml", `tokens:\n  demo: ${this.#token}\nkeys:\n${keys}`);
  }

  declaration(): Promise<Declaration> {
    return readDeclaration(this.read("keys.yaml"), this.path("keys.yaml"));
  }

  surroundings(): Surroundings {
    const { state } = this;
    return {
      folder: this.folder,
      state,
      now: () => this.now,
      open: (token) => Module.open(this.#provider(token)),
      reach: (token) => reachOfDeclared(token, { folder: this.folder, state }),
      requireAllShown: (token, shown) => requireAllShown(token, { folder: this.folder, state }, shown),
      readPin: (source, purpose) => readPin(source, { folder: this.folder, purpose }),
    };
  }

  #provider(token: TokenDeclaration): Provider {
    return openGuarded(
      { ...declaredModule(token, { folder: this.folder, state: this.state }), scryptCost: 10 },
      { memory: new PinMemory(this.state), attended: () => this.attended },
      this.layer,
    );
  }

  async observe(): Promise<Observation> {
    const declaration = await this.declaration();
    const surroundings = this.surroundings();
    return withTokens(usedTokens(declaration), surroundings, (accesses) =>
      observe(declaration, accesses, surroundings),
    );
  }

  async plan(rotate: string[] = []): Promise<Plan> {
    return plan(await this.declaration(), await this.observe(), this.now, { rotate });
  }

  /** The plan's steps, briefly: `generate www`, `keep my-ca`. */
  async steps(rotate: string[] = []): Promise<string[]> {
    return brief((await this.plan(rotate)).steps);
  }

  async apply(options: Partial<ApplyOptions> = {}): Promise<Applied> {
    return apply(await this.declaration(), this.surroundings(), {
      confirm: () => Promise.resolve(true),
      progress: { begin: () => undefined, end: () => undefined },
      ...options,
    });
  }

  /** Applies and answers what became of each key: `www done`. */
  async applied(options: Partial<ApplyOptions> = {}): Promise<string[]> {
    const { results } = await this.apply(options);
    return results.map(
      ({ key, status, error }) => `${key} ${status}${error === undefined ? "" : `: ${error.message}`}`,
    );
  }

  /** The token's objects: `private 01 www`. */
  async objects(): Promise<string[]> {
    const seen = (await this.observe()).tokens.demo;
    if (seen?.state !== "present") throw new Error(JSON.stringify(seen));
    return seen.objects.map(({ class: kind, id, label }) => `${kind} ${id} ${label}`).sort();
  }

  /** Works in the token behind the engine's back. */
  async within(use: (session: Session) => Promise<void> | void): Promise<void> {
    const { tokens } = await this.declaration();
    await withTokens(Object.values(tokens), this.surroundings(), async (accesses) => {
      const demo = accesses.get("demo");
      if (demo?.state !== "present") throw new Error(JSON.stringify(demo));
      await use(demo.session);
    });
  }

  /** What `keywright pin forget` does. */
  async forgetPins(): Promise<void> {
    await new PinMemory(this.state).forget(() => true);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function brief(steps: readonly Step[]): string[] {
  return steps.map((step) => `${step.action} ${"key" in step ? step.key : step.token}`);
}
