import { z } from 'zod';
import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { AlignedText } from './aligned-text.js';
import { readFields } from './component.js';
import type { TokenModel } from './models/token-model.js';
import type { Normalizer } from './normalizers.js';
import { WHITE_SPACE, WORD } from './unicode-classes.js';

const schema = z.object({
  content: z.string(),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(true),
  special: z.boolean().default(false),
});

interface AddedToken extends z.infer<typeof schema> {
  id: number;
  /** What is looked for: the content, as the normalizer leaves it if `normalized` is set. */
  pattern: string;
}

/** A piece of a text: an added token, or text for the pre-tokenizer. */
export interface TextPiece {
  text: AlignedText;
  /** Id of the added token. */
  id?: number;
}

const ENDS_WITH_WORD = new RegExp(`[${WORD}]$`, 'v');
const STARTS_WITH_WORD = new RegExp(`^[${WORD}]`, 'v');
const LEADING_SPACE = new RegExp(`^[${WHITE_SPACE}]*`, 'v');
const TRAILING_SPACE = new RegExp(`(?<![${WHITE_SPACE}])[${WHITE_SPACE}]*$`, 'v');

/** Tokens that are found in the text before the model sees it, such as `[MASK]`. */
export class AddedTokens {
  readonly #byId = new Map<number, AddedToken>();
  readonly #ids = new Map<string, number>();
  readonly #special = new Set<string>();
  readonly #normalizer: Normalizer;
  readonly #plain: Finder | undefined;
  readonly #normalized: Finder | undefined;
  /** Tokens that the model does not have. */
  readonly count: number;

  /**
   * @param json `added_tokens` of tokenizer.json; the ids are the model's, or follow its last one, whatever the file says
   * @throws DeftuneError naming the entry that is wrong
   */
  constructor(json: unknown, model: TokenModel, normalizer: Normalizer, where: string) {
    if (!Array.isArray(json)) throw new DeftuneError(`${where} is ${showValue(json)}, expected a list`);
    this.#normalizer = normalizer;
    let next = model.vocabSize;
    json.forEach((entry, index) => {
      const fields = readFields(schema, entry, `${where}.${index}`);
      if (fields.content === '') return;
      const id = this.#ids.get(fields.content) ?? model.tokenToId(fields.content) ?? next++;
      const pattern = fields.normalized ? normalizer(AlignedText.of(fields.content)).text : fields.content;
      this.#ids.set(fields.content, id);
      this.#byId.set(id, { ...fields, id, pattern });
      if (fields.special) this.#special.add(fields.content);
    });
    this.count = next - model.vocabSize;
    const tokens = [...this.#byId.values()];
    this.#plain = finderOf(tokens.filter(({ normalized }) => !normalized));
    this.#normalized = finderOf(tokens.filter(({ normalized }) => normalized));
  }

  idOf(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** How a token is spelled when decoding: as the normalizer left it. */
  tokenOf(id: number): string | undefined {
    return this.#byId.get(id)?.pattern;
  }

  specialIds(): number[] {
    return [...this.#special].map((token) => this.#ids.get(token)!);
  }

  isSpecial(token: string): boolean {
    return this.#special.has(token);
  }

  /** Finds the tokens that are not normalized, normalizes what is between them, and finds the others there. */
  split(text: string): TextPiece[] {
    return find(AlignedText.of(text), this.#plain)
      .flatMap((piece) => (piece.id === undefined ? find(this.#normalizer(piece.text), this.#normalized) : [piece]))
      .filter((piece) => piece.text.text !== '');
  }
}

interface Finder {
  regex: RegExp;
  tokens: Map<string, AddedToken>;
}

/** Alternatives from the longest to the shortest: the leftmost match, and of those the longest. */
function finderOf(tokens: readonly AddedToken[]): Finder | undefined {
  const byPattern = new Map(tokens.filter(({ pattern }) => pattern !== '').map((token) => [token.pattern, token]));
  if (byPattern.size === 0) return undefined;
  const patterns = [...byPattern.keys()].sort((a, b) => b.length - a.length);
  const source = patterns.map((pattern) => pattern.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|');
  return { regex: new RegExp(source, 'gu'), tokens: byPattern };
}

function find(text: AlignedText, finder: Finder | undefined): TextPiece[] {
  if (!finder) return [{ text }];
  const pieces: TextPiece[] = [];
  const whole = text.text;
  let last = 0;
  for (const match of whole.matchAll(finder.regex)) {
    const token = finder.tokens.get(match[0])!;
    let start = match.index;
    let end = start + match[0].length;
    const [before, after] = [whole.slice(0, start), whole.slice(end)];
    if (token.single_word && (ENDS_WITH_WORD.test(before) || STARTS_WITH_WORD.test(after))) continue;
    if (token.lstrip) start = Math.max(start - TRAILING_SPACE.exec(before)![0].length, last);
    if (token.rstrip) end += LEADING_SPACE.exec(after)![0].length;
    if (last < start) pieces.push({ text: text.slice(last, start) });
    pieces.push({ text: text.slice(start, end), id: token.id });
    last = end;
  }
  if (last < whole.length) pieces.push({ text: text.slice(last, whole.length) });
  return pieces;
}
