/** What a caller needs of a repository. */
export type RepositoryPart = 'model' | 'tokenizer' | 'adapter';

const WEIGHTS = 'model.safetensors';
const WEIGHTS_INDEX = 'model.safetensors.index.json';
const SETTINGS = ['config.json', 'generation_config.json', 'preprocessor_config.json'];
const TOKENIZER = ['tokenizer.json', 'vocab.txt', 'vocab.json', 'merges.txt'];
const TOKENIZER_SETTINGS = ['config.json', 'tokenizer_config.json', 'special_tokens_map.json'];
const ADAPTER_CONFIG = ['adapter_config.json', 'deftune.json'];
/** In the order in which a reader looks for them: peft's, AdapterHub's, ours of a whole model, and what torch pickled. */
const ADAPTER_WEIGHTS = [
  'adapter_model.safetensors',
  'adapter.safetensors',
  WEIGHTS,
  'adapter_model.bin',
  'pytorch_adapter.bin',
];
const ADAPTER_HEAD = ['head_config.json', 'model_head.safetensors', 'pytorch_model_head.bin', 'config.json'];

/** The files to download first, of those that a repository has (at its top level). */
export function wantedFiles(part: RepositoryPart, has: (file: string) => boolean): string[] {
  const lists: Record<RepositoryPart, string[]> = {
    model: [...SETTINGS, has(WEIGHTS) ? WEIGHTS : WEIGHTS_INDEX],
    tokenizer: [...TOKENIZER_SETTINGS, ...TOKENIZER],
    adapter: [...ADAPTER_CONFIG, ...ADAPTER_HEAD, ...ADAPTER_WEIGHTS.filter(has).slice(0, 1)],
  };
  return lists[part].filter(has);
}

/** The file that lists further ones, if it is among those wanted. */
export function shardIndex(part: RepositoryPart, files: readonly string[]): string | undefined {
  return part === 'model' && files.includes(WEIGHTS_INDEX) ? WEIGHTS_INDEX : undefined;
}

/** The shards that an index names; a name that is none is left to the reader, who refuses it. */
export function shardsOf(index: unknown): string[] {
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null) return [];
  const names = Object.values(map).filter((name): name is string => typeof name === 'string');
  return [...new Set(names)].filter((name) => /^[\w-][\w.-]*\.safetensors$/.test(name));
}

/**
 * What is missing to use these files; undefined if nothing is.
 *
 * @param has whether a file is there
 * @param shards those that the index names, if there is one
 */
export function missingFor(
  part: RepositoryPart,
  has: (file: string) => boolean,
  shards: readonly string[] = [],
): string | undefined {
  if (part === 'model') {
    if (!has('config.json')) return 'config.json';
    if (has(WEIGHTS)) return undefined;
    return has(WEIGHTS_INDEX) ? shards.find((shard) => !has(shard)) : WEIGHTS;
  }
  if (part === 'adapter') {
    if (!ADAPTER_CONFIG.some(has)) return 'adapter_config.json';
    return ADAPTER_WEIGHTS.some(has) ? undefined : 'adapter_model.safetensors';
  }
  const isWhole = has('tokenizer.json') || has('vocab.txt') || (has('vocab.json') && has('merges.txt'));
  return isWhole ? undefined : 'tokenizer.json';
}
