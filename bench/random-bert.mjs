import { batchesOf, range } from './batches.mjs';
import { randomShare, randomSource, uniform, upperQuantile } from './random-numbers.mjs';

/** BERT-base's shape. Dropout as in the checkpoint's config. */
export const BERT_BASE = {
  model_type: 'bert',
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  max_position_embeddings: 512,
  type_vocab_size: 2,
  layer_norm_eps: 1e-12,
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  initializer_range: 0.02,
};

/**
 * A checkpoint of random weights. With a ReLU, `density` sets the biases of the up-projections so that about this share of the
 * activations is not zero: their inputs come out of a layer norm, so that a random projection of them is normal with the variance
 * hidden_size * 0.02².
 */
export function randomBert(config, density) {
  const { hidden_size: d, intermediate_size: dFf } = config;
  const sigma = config.initializer_range * Math.sqrt(d);
  const shapes = new Map();
  const linear = (path, out, inputs) => shapes.set(`${path}.weight`, [out, inputs]).set(`${path}.bias`, [out]);
  const norm = (path) => shapes.set(`${path}.weight`, [d]).set(`${path}.bias`, [d]);
  shapes.set('bert.embeddings.word_embeddings.weight', [config.vocab_size, d]);
  shapes.set('bert.embeddings.position_embeddings.weight', [config.max_position_embeddings, d]);
  shapes.set('bert.embeddings.token_type_embeddings.weight', [config.type_vocab_size, d]);
  norm('bert.embeddings.LayerNorm');
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const path = `bert.encoder.layer.${layer}`;
    for (const name of ['query', 'key', 'value']) linear(`${path}.attention.self.${name}`, d, d);
    linear(`${path}.attention.output.dense`, d, d);
    norm(`${path}.attention.output.LayerNorm`);
    linear(`${path}.intermediate.dense`, dFf, d);
    linear(`${path}.output.dense`, d, dFf);
    norm(`${path}.output.LayerNorm`);
  }
  linear('bert.pooler.dense', d, d);
  linear('classifier', 2, d);

  const values = (name, size) => {
    if (/LayerNorm\.weight$/.test(name)) return new Float32Array(size).fill(1);
    if (/intermediate\.dense\.bias$/.test(name) && density !== undefined) {
      return new Float32Array(size).fill(-sigma * upperQuantile(density));
    }
    if (name.endsWith('.bias')) return new Float32Array(size);
    return uniform(size, config.initializer_range);
  };
  return randomSource(shapes, values);
}

const SENTENCES = 32;

/** Sequence lengths like SST-2's: normal of mean 25 and deviation 12, from 4 tokens up; in the first batch its quantiles, in others random ones. */
function sst2Lengths(batch) {
  return Array.from({ length: SENTENCES }, (_, i) => {
    const share = batch === 0 ? (i + 0.5) / SENTENCES : randomShare(batch * SENTENCES + i);
    return Math.max(4, Math.round(25 + 12 * upperQuantile(share)));
  });
}

/** Multiply-adds x 2 of one token's forward pass through the encoder's linear layers. */
const flopsPerToken = ({ num_hidden_layers: layers, hidden_size: d, intermediate_size: dFf }) =>
  2 * layers * (4 * d * d + 2 * d * dFf);

/** The training step: a classifier on batches of short sentences. */
export function bertStep(batches) {
  const { lengths, tokens, meanTokens } = batchesOf(batches, sst2Lengths);
  const padded = lengths.map((batch) => SENTENCES * Math.max(...batch));
  return {
    name: `BERT-base LoRA r 8, batch ${SENTENCES}, ${range(tokens)} tokens (padded: ${range(padded)})`,
    gflops: (2 * meanTokens * flopsPerToken(BERT_BASE)) / 1e9,
    peer: { model: 'bert', batches: lengths.map((inputs) => ({ inputs, outputs: [] })) },
    head: 'SequenceClassification',
    config: (activation) => ({ ...BERT_BASE, hidden_act: activation }),
    source: randomBert,
    batches: lengths.map((batch) =>
      batch.map((length, index) => ({
        inputIds: Array.from({ length }, (_, at) => (index * 7919 + at * 104_729) % BERT_BASE.vocab_size),
        label: index % 2,
      })),
    ),
  };
}
