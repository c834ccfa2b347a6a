import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import {
  contentOf,
  namedTokens,
  SPECIAL_TOKEN_ROLES,
  tokenizerClass,
  type SpecialTokenRole,
} from './special-tokens.js';

type JsonObject = Readonly<Record<string, unknown>>;

/** What stands beside a vocabulary. */
export interface VocabularySettings {
  /** Content of tokenizer_config.json; `{}` without one. */
  tokenizerConfig: JsonObject;
  /** `model_type` of config.json, which decides where tokenizer_config.json names no class. */
  modelType?: string | undefined;
  /** Name of the vocabulary's file, for messages. */
  name: string;
}

/** Content of tokenizer.json and tokenizer_config.json, made from older files. */
export interface MadeTokenizer {
  tokenizer: JsonObject;
  config: JsonObject;
}

/**
 * A tokenizer from BERT's `vocab.txt` alone, as transformers' BertTokenizer makes it: `do_lower_case` (default true), `strip_accents`
 * (default: as do_lower_case), `tokenize_chinese_chars` (default true).
 *
 * @throws DeftuneError when the vocabulary lacks the unknown token
 */
export function tokenizerFromVocabTxt(vocabTxt: string, { tokenizerConfig, name }: VocabularySettings): MadeTokenizer {
  const lines = vocabTxt.split('\n');
  // The last line has an end, too.
  if (lines.at(-1) === '') lines.pop();
  const vocab = Object.fromEntries(lines.map((line, id) => [line.trimEnd(), id]));
  const config: JsonObject = { tokenizer_class: 'BertTokenizer', ...tokenizerConfig };
  const tokens = namedTokens(config, 'BertTokenizer');
  const [cls, sep] = [tokens.cls!, tokens.sep!];
  const added = addedTokens(config, tokens, vocab);
  const tokenizer = {
    added_tokens: added,
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: flag(config, 'tokenize_chinese_chars', true, name),
      strip_accents: config['strip_accents'] ?? null,
      lowercase: flag(config, 'do_lower_case', true, name),
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'BertProcessing',
      cls: [cls, idOf(cls, vocab, added)],
      sep: [sep, idOf(sep, vocab, added)],
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: { type: 'WordPiece', unk_token: tokens.unk, vocab },
  };
  return { tokenizer, config };
}

/**
 * A tokenizer from byte-level BPE's `vocab.json` and `merges.txt`, by RoBERTa's conventions or GPT-2's: as the class in
 * tokenizer_config.json says, else the model type, else RoBERTa's if the vocabulary has its special tokens.
 *
 * @param vocabJson content of vocab.json
 * @throws DeftuneError when vocab.json is no object of ids, or the class is neither
 */
export function tokenizerFromMerges(
  vocabJson: unknown,
  mergesTxt: string,
  settings: VocabularySettings,
): MadeTokenizer {
  const { tokenizerConfig, name } = settings;
  if (typeof vocabJson !== 'object' || vocabJson === null || Array.isArray(vocabJson)) {
    throw new DeftuneError(`${name}: the file holds ${showValue(vocabJson)}, expected an object of ids by token`);
  }
  const vocab = vocabJson as JsonObject;
  const className = byteLevelClass(vocab, settings);
  const config: JsonObject = { ...tokenizerConfig, tokenizer_class: className };
  const tokens = namedTokens(config, className);
  const added = addedTokens(config, tokens, vocab);
  const add_prefix_space = flag(config, 'add_prefix_space', false, name);
  const withId = (token: string): [string, number] => [token, idOf(token, vocab, added)];
  const isRoberta = className === 'RobertaTokenizer';
  const tokenizer = {
    added_tokens: added,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space, use_regex: true },
    post_processor: isRoberta
      ? {
          type: 'RobertaProcessing',
          cls: withId(tokens.cls!),
          sep: withId(tokens.sep!),
          trim_offsets: flag(config, 'trim_offsets', true, name),
          add_prefix_space,
        }
      : startAndEnd(
          flag(config, 'add_bos_token', false, name) ? withId(tokens.bos!) : undefined,
          flag(config, 'add_eos_token', false, name) ? withId(tokens.eos!) : undefined,
        ),
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab,
      merges: mergesTxt.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version')),
    },
  };
  return { tokenizer, config };
}

const BYTE_LEVEL_CLASSES: readonly string[] = ['RobertaTokenizer', 'GPT2Tokenizer'];

function byteLevelClass(vocab: JsonObject, { tokenizerConfig, modelType, name }: VocabularySettings): string {
  const named = tokenizerClass(tokenizerConfig);
  // PreTrainedTokenizer and its like say nothing about the conventions.
  if (named !== undefined && BYTE_LEVEL_CLASSES.includes(named)) return named;
  if (named !== undefined && !/^(?:PreTrainedTokenizer|TokenizersBackend)$/.test(named)) {
    throw new DeftuneError(
      `${name}: the tokenizer class is ${showValue(named)}, expected RobertaTokenizer or GPT2Tokenizer`,
    );
  }
  // Classes are called after model types.
  const ofModel = BYTE_LEVEL_CLASSES.find((className) => className.toLowerCase() === `${modelType}tokenizer`);
  if (ofModel) return ofModel;
  return '<s>' in vocab && '</s>' in vocab ? 'RobertaTokenizer' : 'GPT2Tokenizer';
}

/** Puts a token before and after each text. */
function startAndEnd(
  bos: readonly [string, number] | undefined,
  eos: readonly [string, number] | undefined,
): JsonObject {
  const special = (token: readonly [string, number] | undefined, type_id: number): JsonObject[] =>
    token ? [{ SpecialToken: { id: token[0], type_id } }] : [];
  const around = (id: 'A' | 'B', type_id: number): JsonObject[] => [
    ...special(bos, type_id),
    { Sequence: { id, type_id } },
    ...special(eos, type_id),
  ];
  const tokens = [bos, eos].filter((token) => token !== undefined);
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(tokens.map(([token, id]) => [token, { id: token, ids: [id], tokens: [token] }])),
  };
}

interface AddedToken {
  id: number;
  content: string;
  [field: string]: unknown;
}

/** The special tokens, in transformers' order; those that the vocabulary lacks are numbered after its last. */
function addedTokens(
  config: JsonObject,
  tokens: Partial<Record<SpecialTokenRole, string>>,
  vocab: JsonObject,
): AddedToken[] {
  const listed = config['added_tokens_decoder'] ?? {};
  const decoder = Object.entries(listed as JsonObject).sort(([a], [b]) => Number(a) - Number(b));
  const extra = [config['additional_special_tokens'], config['extra_special_tokens']].flatMap((list) =>
    Array.isArray(list) ? (list as unknown[]) : [],
  );
  const all: unknown[] = [
    ...decoder.map(([, token]) => token),
    ...SPECIAL_TOKEN_ROLES.map((role) => {
      const given = config[`${role}_token`];
      return contentOf(given) === undefined ? tokens[role] : given;
    }),
    ...extra,
  ];
  const special = new Set([...Object.values(tokens), ...extra.map(contentOf)]);
  const added = new Map<string, AddedToken>();
  let next = Object.keys(vocab).length;
  for (const token of all) {
    const content = contentOf(token);
    if (content === undefined || added.has(content)) continue;
    const known = Object.hasOwn(vocab, content) ? (vocab[content] as number) : undefined;
    const fields = typeof token === 'object' ? (token as JsonObject) : { normalized: false };
    added.set(content, { ...fields, content, id: known ?? next++, ...(special.has(content) ? { special: true } : {}) });
  }
  return [...added.values()];
}

function idOf(token: string, vocab: JsonObject, added: readonly AddedToken[]): number {
  return added.find(({ content }) => content === token)?.id ?? (vocab[token] as number);
}

function flag(config: JsonObject, field: string, fallback: boolean, name: string): boolean {
  const value = config[field] ?? fallback;
  if (typeof value === 'boolean') return value;
  throw new DeftuneError(`${name}: ${field} of tokenizer_config.json is ${showValue(value)}, expected true or false`);
}
