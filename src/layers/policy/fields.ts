/**
 * The fields of a policy. This is the one definition: reading, the JSON Schema and the docs follow it.
 * @module
 */
import {
  type Field,
  flag,
  integer,
  list,
  object,
  oneOf,
  optional,
  record,
  required,
  scalar,
  text,
} from "../../schema/fields.ts";
import { parseId } from "../../schema/ids.ts";
import { mechanismCode } from "../../spec/mechanisms.ts";
import { checkGrantUri, GRANTABLE } from "./grants.ts";
import { parseHours, parseTimeZone } from "./hours.ts";

const account = scalar<string>({ type: ["integer", "string"] }, (value) => {
  const name = String(value);
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw new Error(`${JSON.stringify(name)} is no user or group: write its name or number`);
});
const path = text("a path", checkAbsolute);

const grant = object("a key", {
  label: optional(text("a label"), "Its CKA_LABEL."),
  id: optional(
    scalar({ oneOf: [{ type: "integer", minimum: 0 }, { type: "string" }] }, parseId),
    'Its CKA_ID: an integer, or "0x" and bytes with leading zeroes kept.',
  ),
  uri: optional(text("a URI", checkGrantUri), "Its PKCS#11 URI (RFC 7512); the token's attributes count too."),
  operations: required(
    list("the operations", oneOf("an operation", ...GRANTABLE)),
    "What may be done with it; extract is to leave the token, wrapped or read.",
  ),
  mechanisms: optional(
    list("the mechanisms", text("a mechanism", toMechanism)),
    "The only mechanisms, such as CKM_ECDSA; absent: any whose parameter can be read here.",
  ),
  perMinute: optional(integer("perMinute", 1, 100_000), "How many uses within any 60 seconds."),
  perDay: optional(integer("perDay", 1, 1_000_000_000), "How many uses in a calendar day of the time zone."),
  hours: optional(list("the hours", text("hours", parseHours)), 'When: "Mon-Fri 08:00-18:00", "22:00-06:00".'),
});

const client = object("a client", {
  uid: optional(list("the users", account), "Users, by number or name."),
  gid: optional(list("the groups", account), "Groups, by number or name."),
  program: optional(list("the programs", path), "Paths of programs."),
  socket: optional(list("the sockets", path), "Sockets that it came by."),
  anyone: optional(flag("anyone"), "Whoever it is, where nothing else says whom this is for."),
  login: optional(flag("login"), "May log in as the user; true by default."),
  readOnly: optional(flag("readOnly"), "Changes nothing in the token; true by default."),
  createObjects: optional(flag("createObjects"), "May make objects, in a session at least; false by default."),
  setUp: optional(flag("setUp"), "May log in as the SO, set PINs and initialise the token; false by default."),
  publicObjects: optional(flag("publicObjects"), "Sees every public object, not only those of its keys."),
  keys: optional(list("the keys", grant), "The keys it sees and may use; none by default."),
});

/** The whole policy. */
export const POLICY = object("the policy", {
  timeZone: optional(text("a time zone", parseTimeZone), "Of hours and days, such as Europe/Berlin; UTC by default."),
  clients: required(
    record("clients", client, /^[A-Za-z][A-Za-z0-9._-]{0,63}$/, "a letter, then letters, digits, dots and dashes"),
    "Rules for clients by name; the first that is for a client applies.",
  ),
});

type ReadOf<F> = F extends Field<infer T> ? T : never;
export type ClientFields = ReadOf<typeof client>;
export type GrantFields = ReadOf<typeof grant>;

function toMechanism(name: string): number {
  const code = mechanismCode(name);
  if (code !== undefined) return code;
  // A vendor's.
  if (/^0x[0-9a-f]{1,8}$/i.test(name)) return Number(name);
  throw new Error(`there is no mechanism ${JSON.stringify(name)}`);
}

function checkAbsolute(value: string): string {
  if (value.startsWith("/")) return value;
  throw new Error(`a path here begins with /, and ${JSON.stringify(value)} does not`);
}
