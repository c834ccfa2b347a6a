import { ConfigReader } from './config-reader.js';

/** Tokens that steer generation. */
export interface GenerationTokens {
  /** Tokens that end a text; none: texts end at the limit alone. */
  eosTokenIds: readonly number[];
  /** First token that a decoder with an encoder reads. */
  decoderStartTokenId: number | undefined;
}

/**
 * Tokens of generation_config.json where there is one, else of config.json, as in transformers. A decoder's start token is looked for
 * in both.
 *
 * @param directory of the files, for messages
 * @throws DeftuneError naming file and field of what is no token id.
 */
export function generationTokens(
  directory: string,
  config: Readonly<Record<string, unknown>>,
  generationConfig: Readonly<Record<string, unknown>> | undefined,
): GenerationTokens {
  const own = new ConfigReader(config, `${directory}/config.json`);
  const reader = generationConfig ? new ConfigReader(generationConfig, `${directory}/generation_config.json`) : own;
  const start = (from: ConfigReader): number | undefined =>
    from.tokenId('decoder_start_token_id') ?? from.tokenId('bos_token_id');
  return {
    eosTokenIds: reader.tokenIds('eos_token_id'),
    decoderStartTokenId: start(reader) ?? start(own),
  };
}
