import type { ConfigReader } from './config-reader.js';

/** Sizes and settings of a T5 model. */
export interface T5Config {
  vocabSize: number;
  dModel: number;
  /** Width of a head, whatever dModel is. */
  dKv: number;
  heads: number;
  dFf: number;
  encoderLayers: number;
  decoderLayers: number;
  /** Buckets of relative positions. */
  buckets: number;
  /** Distances from here on share a bucket. */
  maxDistance: number;
  activation: string;
  /** Whether the MLP is gated (version 1.1). */
  gated: boolean;
  eps: number;
  dropout: number;
  initializerFactor: number;
  /** Whether the decoder's output is scaled by dModel^-0.5 before the vocabulary: where the head is the embedding itself. */
  scaled: boolean;
}

/** Fields of a T5 config.json. @param dropout overrides the probability */
export function readT5Config(reader: ConfigReader, dropout: number | undefined): T5Config {
  reader.only('is_decoder', false);
  reader.only('is_encoder_decoder', true);
  const [activation, gated] = mlp(reader);
  const encoderLayers = reader.integer('num_layers', { max: 1000, fallback: 6 });
  const buckets = reader.integer('relative_attention_num_buckets', { min: 4, max: 65_535, fallback: 32 });
  return {
    vocabSize: reader.integer('vocab_size', { fallback: 32_128 }),
    dModel: reader.integer('d_model', { max: 65_535, fallback: 512 }),
    dKv: reader.integer('d_kv', { max: 65_535, fallback: 64 }),
    heads: reader.integer('num_heads', { max: 1024, fallback: 8 }),
    dFf: reader.integer('d_ff', { max: 65_535, fallback: 2048 }),
    encoderLayers,
    decoderLayers: reader.integer('num_decoder_layers', { max: 1000, fallback: encoderLayers }),
    buckets,
    // Half of a direction's buckets are single distances; the decoder has all of them in one direction.
    maxDistance: reader.integer('relative_attention_max_distance', { min: Math.floor(buckets / 2) + 1, fallback: 128 }),
    activation,
    gated,
    eps: reader.number('layer_norm_epsilon', { min: 0, max: 1, fallback: 1e-6 }),
    dropout: dropout ?? reader.number('dropout_rate', { min: 0, max: 0.999, fallback: 0.1 }),
    initializerFactor: reader.number('initializer_factor', { min: 0, max: 1000, fallback: 1 }),
    // Newer files say it; in older ones it follows from the head's being tied.
    scaled: reader.boolean('scale_decoder_outputs', reader.boolean('tie_word_embeddings', true)),
  };
}

/** `relu`, or `gated-` and an activation; by old custom gated-gelu means GELU's tanh form. */
function mlp(reader: ConfigReader): [activation: string, gated: boolean] {
  const name = reader.activation('feed_forward_proj', 'relu', 'gated-');
  if (name === 'gated-gelu') return ['gelu_new', true];
  return name.startsWith('gated-') ? [name.slice('gated-'.length), true] : [name, false];
}

/** config.json with another activation of the MLPs, which stay gated where they are. */
export function withT5Activation(config: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> {
  const prefix = String(config['feed_forward_proj'] ?? 'relu').startsWith('gated-') ? 'gated-' : '';
  const derived = 'dense_act_fn' in config ? { dense_act_fn: name } : {};
  return { ...config, feed_forward_proj: `${prefix}${name}`, ...derived };
}
