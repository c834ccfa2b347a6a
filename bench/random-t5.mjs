import { batchesOf, range } from './batches.mjs';
import { randomShare, randomSource, uniform, upperQuantile } from './random-numbers.mjs';

/** T5-base's shape (version 1.0: ReLU). */
const T5_BASE = {
  model_type: 't5',
  vocab_size: 32128,
  d_model: 768,
  d_kv: 64,
  d_ff: 3072,
  num_layers: 12,
  num_decoder_layers: 12,
  num_heads: 12,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  feed_forward_proj: 'relu',
  dropout_rate: 0.1,
  layer_norm_epsilon: 1e-6,
  initializer_factor: 1,
  tie_word_embeddings: true,
  decoder_start_token_id: 0,
  pad_token_id: 0,
  eos_token_id: 1,
};

/**
 * A checkpoint of random weights. T5's MLPs have no biases: in the first dimensions of every embedding is a constant, together as long as all others,
 * and the weights of the up-projections on them push the share `density` of the activations above zero. (In one dimension a tenth of the tokens would
 * lose it to dropout.)
 */
function randomT5(config, density = 0.5) {
  const { d_model: d, d_ff: dFf, num_heads: heads, d_kv: dKv } = config;
  const shapes = new Map([['shared.weight', [config.vocab_size, d]]]);
  for (const side of ['encoder', 'decoder']) {
    for (let block = 0; block < config.num_layers; block++) {
      const path = `${side}.block.${block}.layer`;
      const attentions = side === 'encoder' ? ['SelfAttention'] : ['SelfAttention', 'EncDecAttention'];
      for (const [layer, name] of attentions.entries()) {
        for (const linear of ['q', 'k', 'v']) shapes.set(`${path}.${layer}.${name}.${linear}.weight`, [heads * dKv, d]);
        shapes
          .set(`${path}.${layer}.${name}.o.weight`, [d, heads * dKv])
          .set(`${path}.${layer}.layer_norm.weight`, [d]);
      }
      const mlp = attentions.length;
      shapes
        .set(`${path}.${mlp}.DenseReluDense.wi.weight`, [dFf, d])
        .set(`${path}.${mlp}.DenseReluDense.wo.weight`, [d, dFf])
        .set(`${path}.${mlp}.layer_norm.weight`, [d]);
    }
    shapes.set(`${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`, [32, heads]);
    shapes.set(`${side}.final_layer_norm.weight`, [d]);
  }
  const deviation = 0.02;
  const constant = 64;
  return randomSource(shapes, (name, size) => {
    if (name.endsWith('layer_norm.weight')) return new Float32Array(size).fill(1);
    // What is added to the embeddings is short, so that the constant keeps its share.
    const isAdded = /\.(o|wo)\.weight$/.test(name);
    const values = uniform(size, name === 'shared.weight' ? 1 : isAdded ? deviation / 10 : deviation);
    if (name === 'shared.weight')
      for (let at = 0; at < size; at += d) values.fill(Math.sqrt(d / constant), at, at + constant);
    // Nothing is added to it later on.
    if (isAdded) values.fill(0, 0, (constant * size) / d);
    if (name.endsWith('wi.weight')) {
      const weight = (-deviation * upperQuantile(density)) / Math.sqrt(constant);
      for (let at = 0; at < size; at += d) values.fill(weight, at, at + constant);
    }
    return values;
  });
}

const SEQUENCES = 8;
const INPUTS = 256;
const OUTPUTS = 12;
const ids = (count, start) => Array.from({ length: count }, (_, at) => 3 + ((start + at * 104_729) % 32_000));
const mlp = T5_BASE.d_model * T5_BASE.d_ff * 2;
const attention = 4 * T5_BASE.d_model ** 2;

/**
 * Multiply-adds x 2 of a token's forward pass through the linear layers: inputs have the keys and values of cross-attention, outputs its queries and
 * results, half of an attention each.
 */
const flopsPerToken = 2 * T5_BASE.num_layers * (1.5 * attention + mlp);

/** Tokens of each input: all INPUTS in the first batch, at least half of that in others. */
const inputLengths = (batch) =>
  Array.from({ length: SEQUENCES }, (_, i) =>
    batch === 0 ? INPUTS : INPUTS - Math.floor((randomShare(batch * SEQUENCES + i) * INPUTS) / 2),
  );

/** The training step: text-to-text batches; one alone has no padding. */
export function t5Step(batches) {
  const { lengths, meanTokens } = batchesOf(batches, inputLengths);
  return {
    name: `T5-base LoRA r 8, batch ${SEQUENCES}, ${range(lengths.flat())} tokens in, ${OUTPUTS} out`,
    gflops: (2 * (meanTokens + SEQUENCES * OUTPUTS) * flopsPerToken) / 1e9,
    peer: { model: 't5', batches: lengths.map((inputs) => ({ inputs, outputs: Array(SEQUENCES).fill(OUTPUTS) })) },
    head: 'Seq2SeqLM',
    config: () => T5_BASE,
    source: randomT5,
    batches: lengths.map((batch) =>
      batch.map((length, index) => ({ inputIds: ids(length, index * 7919), labelIds: ids(OUTPUTS, index * 104_723) })),
    ),
  };
}
