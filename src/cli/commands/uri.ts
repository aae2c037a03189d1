/**
 * `keywright uri`
 * @module
 */
import { resolve } from "node:path";
import { formatUri, type Pkcs11Uri, parseUri } from "../../cryptoki/uri.ts";
import { familyOfLibrary } from "../../families/families.ts";
import type { Declaration, KeyDeclaration } from "../../lifecycle/declaration.ts";
import { isPeer } from "../../modules/address.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io, View } from "../io.ts";
import { declaredKeys } from "../names.ts";
import { FILE_OPTION, loadDeclaration } from "../surroundings.ts";

export const spec = command({
  name: "uri",
  summary: "print the PKCS#11 URI of declared keys",
  words: { usage: "[NAME…]", least: 0, most: Number.MAX_SAFE_INTEGER },
  options: {
    ...FILE_OPTION,
    plain: flag("leave module-path out, for programs that refuse it"),
    json: flag("print JSON (schema keywright/uris/1)"),
  },
  notes: [
    "With one NAME the URI alone, otherwise NAME, a tab and the URI; without a NAME every key.",
    "Computed from the declaration: no token is opened, so it works before the key exists.",
  ],
  examples: ["keywright uri www", 'nginx: ssl_certificate_key "engine:pkcs11:$(keywright uri --plain www)";'],
});

interface Uris {
  readonly keys: readonly { readonly name: string; readonly uri: string; readonly rfc7512Uri: string }[];
}

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const declaration = await loadDeclaration(input);
  const keys = input.words.length === 0 ? Object.values(declaration.keys) : declaredKeys(declaration, input.words);
  const value: Uris = {
    keys: keys.map((key) => {
      const uri = declaredUri(declaration, key);
      const { "module-path": _path, ...query } = uri.query;
      return { name: key.name, uri: formatUri(uri), rfc7512Uri: formatUri({ path: uri.path, query }) };
    }),
  };
  io.show(urisView(input.plain, input.words.length === 1), value);
  return EXIT.done;
}

function urisView(plain: boolean, bare: boolean): View<Uris> {
  return {
    schema: "keywright/uris/1",
    human({ keys }) {
      const of = (key: Uris["keys"][number]) => (plain ? key.rfc7512Uri : key.uri);
      return bare ? of(keys[0]!) : keys.map((key) => `${key.name}\t${of(key)}`).join("\n");
    },
  };
}

/** The URI of a key from its declaration alone. */
export function declaredUri(declaration: Declaration, key: KeyDeclaration): Pkcs11Uri {
  const token = declaration.tokens[key.token]!;
  const folder = resolve(declaration.file, "..");
  const wanted = token.uri === undefined ? {} : parseUri(token.uri).path;
  const { labels } = familyOfLibrary(token.module);
  const pinFile = token.pin !== undefined && "file" in token.pin ? token.pin.file : undefined;
  return {
    path: {
      ...wanted,
      ...(token.label === undefined ? {} : { token: token.label }),
      ...(token.serial === undefined ? {} : { serial: token.serial }),
      ...(token.slot === undefined ? {} : { "slot-id": String(token.slot) }),
      ...(labels ? { object: key.label } : {}),
      type: "private",
      id: Buffer.from(key.id, "hex"),
    },
    query: {
      ...(pinFile === undefined ? {} : { "pin-source": `file:${resolve(folder, pinFile)}` }),
      ...(token.module.includes("/") && !isPeer(token.module) ? { "module-path": resolve(folder, token.module) } : {}),
    },
  };
}
