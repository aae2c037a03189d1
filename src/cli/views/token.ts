/**
 * How tokens are shown.
 * @module
 */
import type { Token } from "../../cryptoki/token.ts";
import { familyOfToken } from "../../families/families.ts";
import { flagNames, TOKEN_FLAGS } from "../../spec/flags.ts";
import { UNAVAILABLE_INFORMATION } from "../../spec/structures.ts";
import type { View } from "../io.ts";
import { table, visible } from "../words.ts";

export interface TokenValue {
  readonly uri: string;
  readonly slot: string;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  /** Names of CK_TOKEN_INFO's flags. */
  readonly flags: readonly string[];
  readonly minPinLength: number | null;
  readonly maxPinLength: number | null;
  /** What a wrong PIN costs besides a try; null where that is all. */
  readonly sharedTries: string | null;
  readonly firmware: string;
  readonly module: string;
}

export function tokenValue(token: Token, module: string): TokenValue {
  const { info } = token;
  const known = (value: number | bigint) => (value === UNAVAILABLE_INFORMATION ? null : Number(value));
  return {
    uri: token.uri,
    slot: String(token.slot),
    label: info.label,
    manufacturer: info.manufacturerID,
    model: info.model,
    serial: info.serialNumber,
    flags: flagNames(Number(info.flags), TOKEN_FLAGS),
    minPinLength: known(info.minPinLen),
    maxPinLength: known(info.maxPinLen),
    sharedTries: familyOfToken(info, module).sharedTries ?? null,
    firmware: `${info.firmwareVersion.major}.${info.firmwareVersion.minor}`,
    module,
  };
}

/** What matters most about a token's state, in words. */
function stateOf({ flags }: TokenValue): string {
  const has = (name: string) => flags.includes(name);
  if (!has("CKF_TOKEN_INITIALIZED")) return "not initialised";
  if (!has("CKF_USER_PIN_INITIALIZED")) return "no user PIN";
  if (has("CKF_USER_PIN_LOCKED")) return "user PIN locked";
  if (has("CKF_SO_PIN_LOCKED")) return "SO PIN locked";
  if (has("CKF_USER_PIN_FINAL_TRY")) return "one try left";
  return has("CKF_USER_PIN_COUNT_LOW") ? "wrong PIN given" : "ready";
}

export const tokenListView: View<{ readonly tokens: readonly TokenValue[] }> = {
  schema: "keywright/token-list/1",
  human({ tokens }) {
    if (tokens.length === 0) return "no tokens";
    const rows = tokens.map((token) => [visible(token.label) || "-", stateOf(token), token.slot, token.uri]);
    return table([["LABEL", "STATE", "SLOT", "URI"], ...rows]);
  },
};

export const tokenView: View<TokenValue> = {
  schema: "keywright/token/1",
  human(token) {
    const bounds =
      token.minPinLength === null ? "unknown" : `${token.minPinLength} to ${token.maxPinLength ?? "?"} bytes`;
    return table([
      ["label", visible(token.label)],
      ["state", stateOf(token)],
      ["manufacturer", visible(token.manufacturer)],
      ["model", visible(token.model)],
      ["serial", visible(token.serial)],
      ["firmware", token.firmware],
      ["slot", token.slot],
      ["PIN length", bounds],
      ...(token.sharedTries === null ? [] : [["PIN tries", token.sharedTries]]),
      ["flags", token.flags.join(" ")],
      ["module", token.module],
      ["uri", token.uri],
    ]);
  },
};
