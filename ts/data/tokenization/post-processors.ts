import { z } from 'zod';
import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { buildComponent, buildComponents, readFields, type ComponentBuilder, type ComponentJson } from './component.js';
import { isTrimmed } from './pre-tokenizers.js';
import type { SequenceId, Token } from './token.js';

/** Puts the special tokens around one text or two. */
export interface PostProcessor {
  /** Number of special tokens that it adds. */
  added(isPair: boolean): number;
  /**
   * @param texts the tokens of one text or two
   * @param isOverflow for each text, whether these are not its first tokens but what a window further on holds
   * @param special whether to add the special tokens
   */
  process(texts: Token[][], isOverflow: readonly boolean[], special: boolean): Token[][];
}

/** Builds the `post_processor` of tokenizer.json. @throws DeftuneError for one that is unknown or ill-formed. */
export function buildPostProcessor(json: unknown, where: string): PostProcessor {
  return buildComponent(POST_PROCESSORS, json, where);
}

const tokenField = z.tuple([z.string(), z.number()]);

const POST_PROCESSORS: Readonly<Record<string, ComponentBuilder<PostProcessor>>> = {
  BertProcessing: (json, where) => {
    const { cls, sep } = readFields(z.object({ cls: tokenField, sep: tokenField }), json, where);
    return {
      added: (isPair) => (isPair ? 3 : 2),
      process: ([first = [], second], _, special) => {
        if (!special) return second ? [first, second] : [first];
        return [
          [specialToken(cls, 0), ...first, specialToken(sep, 0)],
          ...(second ? [[...second, specialToken(sep, 1)]] : []),
        ];
      },
    };
  },
  ByteLevel: (json, where) => {
    const fields = readFields(z.object({ add_prefix_space: z.boolean(), trim_offsets: z.boolean() }), json, where);
    return {
      added: () => 0,
      process: (texts) =>
        fields.trim_offsets ? texts.map((tokens) => trimOffsets(tokens, fields.add_prefix_space)) : texts,
    };
  },
  RobertaProcessing: buildRoberta,
  Sequence: (json, where) => {
    const parts = buildComponents(POST_PROCESSORS, json['processors'], `${where}.processors`);
    return {
      added: (isPair) => parts.reduce((sum, part) => sum + part.added(isPair), 0),
      process: (texts, isOverflow, special) =>
        parts.reduce((result, part) => part.process(result, isOverflow, special), texts),
    };
  },
  TemplateProcessing: buildTemplate,
};

/** RoBERTa's `<s> A </s></s> B </s>`, all of type 0. */
function buildRoberta(json: ComponentJson, where: string): PostProcessor {
  const schema = z.object({
    cls: tokenField,
    sep: tokenField,
    trim_offsets: z.boolean().default(true),
    add_prefix_space: z.boolean().default(true),
  });
  const { cls, sep, trim_offsets, add_prefix_space } = readFields(schema, json, where);
  return {
    added: (isPair) => (isPair ? 4 : 2),
    process: (texts, _, special) =>
      texts.map((text, index) => {
        const trimmed = trim_offsets ? trimOffsets(text, add_prefix_space) : text;
        const tokens = trimmed.map((token) => ({ ...token, typeId: 0 }));
        return special ? [specialToken(index === 0 ? cls : sep, 0), ...tokens, specialToken(sep, 0)] : tokens;
      }),
  };
}

/** A list of texts and special tokens, each with its type. */
function buildTemplate(json: ComponentJson, where: string): PostProcessor {
  const typed = { type_id: z.number() };
  const pieceField = z.union([
    z.object({ Sequence: z.object({ id: z.enum(['A', 'B']), ...typed }) }),
    z.object({ SpecialToken: z.object({ id: z.string(), ...typed }) }),
  ]);
  const schema = z.object({
    single: z.array(pieceField),
    pair: z.array(pieceField),
    special_tokens: z.record(z.string(), z.object({ ids: z.array(z.number()), tokens: z.array(z.string()) })),
  });
  const fields = readFields(schema, json, where);
  const tokensOf = (id: string, typeId: number): Token[] => {
    const entry = fields.special_tokens[id];
    if (!entry)
      throw new DeftuneError(`${where}.special_tokens has no entry for ${showValue(id)}, which its template names`);
    return entry.ids.map((tokenId, index) => specialToken([entry.tokens[index] ?? id, tokenId], typeId));
  };
  const added = (template: typeof fields.single): number =>
    template.reduce((sum, piece) => sum + ('SpecialToken' in piece ? tokensOf(piece.SpecialToken.id, 0).length : 0), 0);
  const counts = { single: added(fields.single), pair: added(fields.pair) };
  return {
    added: (isPair) => (isPair ? counts.pair : counts.single),
    process: (texts, isOverflow, special) =>
      (texts.length > 1 ? fields.pair : fields.single).map((piece) => {
        if ('SpecialToken' in piece) return special ? tokensOf(piece.SpecialToken.id, piece.SpecialToken.type_id) : [];
        const index = piece.Sequence.id === 'A' ? 0 : 1;
        const sequenceId: SequenceId = index;
        // The reference leaves the types of further windows as they were: 0 for the first text, 1 for the second.
        const typeId = isOverflow[index] ? index : piece.Sequence.type_id;
        return (texts[index] ?? []).map((token) => ({ ...token, typeId, sequenceId }));
      }),
  };
}

function specialToken([value, id]: readonly [string, number], typeId: number): Token {
  return { id, value, source: '', start: 0, end: 0, typeId, sequenceId: null };
}

/** Takes the spaces that byte-level tokens carry out of their spans; of one that was added before the text, there is nothing to take. */
function trimOffsets(tokens: readonly Token[], addsPrefixSpace: boolean): Token[] {
  return tokens.map((token, index) => {
    const chars = [...token.value];
    let leading = 0;
    while (leading < chars.length && isTrimmed(chars[leading]!)) leading += 1;
    let trailing = 0;
    while (trailing < chars.length && isTrimmed(chars[chars.length - 1 - trailing]!)) trailing += 1;
    if (leading === 0 && trailing === 0) return token;
    let { start, end } = token;
    if ((index === 0 || start === 0) && addsPrefixSpace && leading === 1) leading = 0;
    for (; leading > 0 && start < end; leading--) start += charLength(token.source, start);
    for (; trailing > 0 && end > start; trailing--) end -= charLength(token.source, end - 1);
    return { ...token, start, end };
  });
}

/** Units of the character that the unit at `at` belongs to. */
function charLength(text: string, at: number): number {
  return /[\ud800-\udfff]/.test(text.charAt(at)) ? 2 : 1;
}
