/**
 * A file's text as one YAML 1.2 document.
 * @module
 */
import { Composer, type Document, Lexer, type LineCounter, Parser } from "yaml";

/** What is wrong with the text, where. */
export interface TextFault {
  /** Where it begins, counted from 0. */
  readonly offset: number;
  readonly message: string;
}

/**
 * Far more than such a file has. Composing takes the stack once a level, and where that ends Node may end with it (V8
 * compiles a regular expression without looking whether it can).
 */
const MOST_DEPTH = 100;

/**
 * @param what it is, for messages: `a declaration`
 * @param lines told where each line begins
 */
export function parseText(
  text: string,
  what: string,
  lines: LineCounter,
): { document: Document } | { faults: TextFault[] } {
  const composer = new Composer({ lineCounter: lines, intAsBigInt: true, uniqueKeys: true, prettyErrors: false });
  let document: Document | undefined;
  try {
    for (const one of composer.compose(tokens(text, lines), true, text.length)) {
      if (document !== undefined) {
        const message = `a second YAML document begins here; ${what} is one`;
        return { faults: [{ offset: one.range[0], message }] };
      }
      document = one;
    }
  } catch (error) {
    if (error instanceof DepthError) return { faults: [{ offset: error.offset, message: error.message }] };
    throw error;
  }
  // The composer makes one of an empty text too.
  const faults = document!.errors.map((error) => ({
    offset: error.pos[0],
    message: `not YAML: ${error.message.split("\n")[0]}`,
  }));
  return faults.length === 0 ? { document: document! } : { faults };
}

class DepthError extends Error {
  readonly offset: number;

  constructor(offset: number) {
    super(`it is nested more than ${MOST_DEPTH} levels deep`);
    this.offset = offset;
  }
}

/** The parser's tokens; none that would take more levels. */
function* tokens(text: string, lines: LineCounter) {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    if (parser.stack.length > MOST_DEPTH) throw new DepthError(parser.offset);
  }
  yield* parser.end();
}
