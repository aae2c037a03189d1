/**
 * `keywright token init`
 * @module
 */
import { type Module, TokenNotFoundError } from "../../cryptoki/module.ts";
import type { Token } from "../../cryptoki/token.ts";
import { type Family, familyOfLibrary, familyOfToken } from "../../families/families.ts";
import { makeToken, requireUnchanged } from "../../lifecycle/apply/initialise.ts";
import { MAKING_TOKENS, withTokenLocks } from "../../lifecycle/token-locks.ts";
import { command, EXIT, type ExitCode, flag, type Input, text } from "../command.ts";
import { confirmDestruction, YES_OPTION } from "../confirm.ts";
import { CommandError, TakenError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { requireSo, SO_PIN_OPTION } from "../pin-options.ts";
import { findTarget, lockOptions, pinContext, pinsAt, TARGET_OPTIONS, type Target, withModule } from "../target.ts";
import { tokenValue, tokenView } from "../views/token.ts";

export const spec = command({
  name: "token init",
  summary: "initialise a token: label, SO PIN, user PIN",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: {
    ...TARGET_OPTIONS,
    ...SO_PIN_OPTION,
    label: text("LABEL", "the new token's label (default: the declared one)"),
    noSoRecovery: flag("built-in token: the SO PIN alone does not open the file, and cannot reset a lost user PIN"),
    ...YES_OPTION,
    json: flag("print JSON (schema keywright/token/1)"),
  },
  notes: [
    "TOKEN is a declared name or a PKCS#11 URI. A token that exists is emptied after asking; else the module's one",
    "uninitialised token is taken.",
    "The built-in token's SO PIN can reset the user PIN, and so it opens the file as the user PIN does; --no-so-recovery",
    "leaves that out, and then a lost user PIN is a lost token.",
  ],
  examples: ["keywright token init --label demo --so-pin file:so.pin --pin file:user.pin"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  const label = input.label ?? target.declared?.label ?? target.uri.path.token;
  if (label === undefined) throw new UsageError("token init needs a label", ["add --label LABEL"]);
  const reference = { label, ...target.reference, soRecovery: !input.noSoRecovery };
  const pins = pinsAt(target, io);
  const token = await withModule(reference, input, pins, io, (module) => chosen(module, label, target, input, io));
  const family = familyOfToken(token.info, reference.module);
  if (input.soPin !== undefined) requireSo(family, "leave --so-pin out: the user PIN initialises the token");
  const hasSo = family.initialise !== "pin";
  if (pins.pin === undefined && !hasSo) {
    throw new UsageError("token init needs a user PIN", ["add --pin SOURCE, or run it at a terminal"]);
  }
  if (pins.pin === undefined || (pins.soPin === undefined && hasSo)) {
    throw new UsageError("token init needs both PINs", [
      "add --so-pin SOURCE and --pin SOURCE, or run it at a terminal",
    ]);
  }
  await makeToken(token, {
    label,
    family,
    pins,
    context: pinContext(target, label, io),
    anew: true,
    // While a person is asked for the PINs, the module is not open: somebody else may make tokens.
    locked: (change) =>
      withTokenLocks([MAKING_TOKENS, token.uri], lockOptions(io), () =>
        withModule(reference, input, pins, io, async (module) => {
          const fresh = await again(module, token);
          await refuseTaken(module, label, fresh);
          requireUnchanged(token, fresh, label);
          await change(fresh);
          io.show(tokenView, tokenValue(fresh, target.reference.module));
        }),
      ),
  });
  return EXIT.done;
}

/** The token that was chosen, as it is now; any blank one for a blank one. */
async function again(module: Module, token: Token): Promise<Token | undefined> {
  const tokens = await module.tokens();
  if (token.has("CKF_TOKEN_INITIALIZED")) return tokens.find(({ uri }) => uri === token.uri);
  const blank = tokens.filter((one) => !one.has("CKF_TOKEN_INITIALIZED"));
  return blank.find((one) => one.slot === token.slot) ?? (blank.length === 1 ? blank[0] : undefined);
}

/** @throws TakenError when another token has the label: two of one label can be told apart by their serials alone */
async function refuseTaken(module: Module, label: string, token?: Token): Promise<void> {
  const others = (await module.tokens()).filter(
    (one) => one.slot !== token?.slot && one.has("CKF_TOKEN_INITIALIZED") && one.info.label === label,
  );
  if (others.length === 0) return;
  const uris = others.map(({ uri }) => uri);
  throw new TakenError(`there is a token ${label} already`, uris, [
    "choose another label, or name the token to empty it and begin anew, with the options that you gave:",
    ...uris.map((uri) => `  keywright token init '${uri}'`),
  ]);
}

/** The token that is there, after asking; or the one that was never initialised. */
async function chosen(
  module: Module,
  label: string,
  target: Target,
  input: Input<typeof spec>,
  io: Io,
): Promise<Token> {
  const named = Object.keys(target.uri.path).length > 0;
  const found = named ? await module.token(target.uri).catch(absent) : undefined;
  const { initialise, title } = familyOf(target, found);
  if (initialise === "no") {
    throw new CommandError(`${title} cannot be initialised here`, [
      "use what its maker provides; then: keywright apply",
    ]);
  }
  await refuseTaken(module, label, found);
  if (found?.has("CKF_TOKEN_INITIALIZED") === true) {
    if (initialise === "pin") {
      throw new CommandError(`${found.uri} is there already`, [`to begin anew, move the folder of ${title} away`]);
    }
    await confirmDestruction("initialising destroys everything in this token", [found.uri], input, io);
    return found;
  }
  if (found !== undefined) return found;
  const blank = (await module.tokens()).filter((token) => !token.has("CKF_TOKEN_INITIALIZED"));
  if (blank.length === 1) return blank[0]!;
  throw new CommandError(
    blank.length === 0 ? "the module shows no uninitialised token" : "the module shows several uninitialised tokens",
    blank.length === 0 ? [] : ["say which by its slot:", ...blank.map((token) => `  pkcs11:slot-id=${token.slot}`)],
  );
}

function familyOf({ reference }: Target, token: Token | undefined): Family {
  return token === undefined ? familyOfLibrary(reference.module) : familyOfToken(token.info, reference.module);
}

function absent(error: unknown): undefined {
  if (error instanceof TokenNotFoundError && error.candidates.length === 0) return undefined;
  throw error;
}
