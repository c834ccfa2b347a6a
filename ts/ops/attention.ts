import { record } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** Settings of one attention call. */
export interface AttentionOptions {
  heads: number;
  /** Factor on the scores; usually 1 / √headDim. */
  scale: number;
  causal?: boolean;
  /** Dropout on the probabilities. */
  dropout?: { p: number; seed: number; stream: number } | undefined;
}

/**
 * softmax(scale · q · kᵀ) · v for each sequence and head of ragged batches.
 *
 * @param q [queries, heads · headDim]
 * @param k [keys, heads · headDim]
 * @param v [keys, heads · headDim]
 * @param cuQ offsets of the sequences in q, from 0 to queries
 * @param cuK offsets in k
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  cuQ: Tensor,
  cuK: Tensor,
  { heads, scale, causal = false, dropout = { p: 0, seed: 0, stream: 0 } }: AttentionOptions,
): Tensor {
  const { backend } = q;
  const settings = [heads, causal, scale, dropout.p, dropout.seed, dropout.stream] as const;
  const [out = 0, lse = 0] = Array.from(
    backend.attention(q.handle, k.handle, v.handle, cuQ.handle, cuK.handle, ...settings),
  );
  return record('attention', backend, [q, k, v], [[out, q.shape]], ([dout = 0]) =>
    Array.from(
      backend.attentionBackward(dout, q.handle, k.handle, v.handle, out, lse, cuQ.handle, cuK.handle, ...settings),
    ),
  )[0] as Tensor;
}
