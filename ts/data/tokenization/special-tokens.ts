/** What a special token is for. */
export type SpecialTokenRole = 'bos' | 'eos' | 'unk' | 'sep' | 'pad' | 'cls' | 'mask';

/** In transformers' order, in which it adds those that the vocabulary lacks. */
export const SPECIAL_TOKEN_ROLES: readonly SpecialTokenRole[] = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'];

const BERT = { unk: '[UNK]', sep: '[SEP]', pad: '[PAD]', cls: '[CLS]', mask: '[MASK]' };
const ROBERTA = { bos: '<s>', eos: '</s>', unk: '<unk>', sep: '</s>', pad: '<pad>', cls: '<s>', mask: '<mask>' };

/** What transformers' tokenizer classes take where tokenizer_config.json says nothing. */
const CLASS_DEFAULTS: Readonly<Record<string, Partial<Record<SpecialTokenRole, string>>>> = {
  BertTokenizer: BERT,
  DistilBertTokenizer: BERT,
  ElectraTokenizer: BERT,
  GPT2Tokenizer: { bos: '<|endoftext|>', eos: '<|endoftext|>', unk: '<|endoftext|>' },
  RobertaTokenizer: ROBERTA,
  T5Tokenizer: { eos: '</s>', unk: '<unk>', pad: '<pad>' },
};

/** The class that a tokenizer_config.json names, without the `Fast` of transformers up to v4. */
export function tokenizerClass(config: Readonly<Record<string, unknown>>): string | undefined {
  const name = config['tokenizer_class'];
  return typeof name === 'string' ? name.replace(/Fast$/, '') : undefined;
}

/**
 * The special tokens that tokenizer_config.json or its class name.
 *
 * @param isKnown whether the vocabulary has a token; without any other word, padding and mask are BERT's or RoBERTa's, if it has them
 */
export function specialTokensOf(
  config: Readonly<Record<string, unknown>>,
  isKnown: (token: string) => boolean,
): Partial<Record<SpecialTokenRole, string>> {
  const tokens = namedTokens(config, tokenizerClass(config));
  for (const role of ['pad', 'mask'] as const) {
    const token = tokens[role];
    if (token !== undefined && isKnown(token)) continue;
    const usual = [BERT[role], ROBERTA[role]].find(isKnown);
    if (usual !== undefined) tokens[role] = usual;
  }
  return tokens;
}

/** The special tokens of a configuration and, where it says nothing, of a class. */
export function namedTokens(
  config: Readonly<Record<string, unknown>>,
  className: string | undefined,
): Partial<Record<SpecialTokenRole, string>> {
  const isKnown = className !== undefined && Object.hasOwn(CLASS_DEFAULTS, className);
  const tokens: Partial<Record<SpecialTokenRole, string>> = isKnown ? { ...CLASS_DEFAULTS[className] } : {};
  for (const role of SPECIAL_TOKEN_ROLES) {
    const token = contentOf(config[`${role}_token`]);
    if (token !== undefined) tokens[role] = token;
  }
  return tokens;
}

/** The characters of a token, which is given as a string or with its properties. */
export function contentOf(token: unknown): string | undefined {
  const content = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  return typeof content === 'string' ? content : undefined;
}
