import { recordOne } from '../autograd/node.js';
import type { GradientHandles } from '../tensor/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** T5's learned relative position bias (Raffel et al. 2020, section 2.1). */
export interface RelativeBias {
  /** [buckets, heads] */
  table: Tensor;
  /** Whether keys after the query have buckets of their own: true in encoders, false in decoders. */
  bidirectional: boolean;
  /** Distances from here on share a bucket; more than half of the buckets of one direction. */
  maxDistance: number;
  /** So many leading keys of every sequence (virtual ones) get no bias; default 0. */
  unbiasedKeys?: number | undefined;
}

/** Settings of one attention call. */
export interface AttentionOptions {
  heads: number;
  /** Factor on the scores; usually 1 / √headDim, in T5 1. */
  scale: number;
  causal?: boolean;
  /** Dropout on the probabilities. */
  dropout?: { p: number; seed: number; stream: number } | undefined;
  relativeBias?: RelativeBias | undefined;
}

/**
 * softmax(scale · q · kᵀ + bias) · v for each sequence and head of ragged batches.
 *
 * The last query of a sequence stands at its last key: with a key/value cache or virtual keys in front, query i sees the keys up to
 * keys - queries + i where `causal`, and relative positions count from there. A query that sees no key gives zeros.
 *
 * @param q [queries, heads · headDim]
 * @param k [keys, heads · headDim]
 * @param v [keys, heads · headDim]
 * @param cuQ offsets of the sequences in q, from 0 to queries
 * @param cuK offsets in k: the same ones in self-attention, others in cross-attention and with a cache
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  cuQ: Tensor,
  cuK: Tensor,
  { heads, scale, causal = false, dropout = { p: 0, seed: 0, stream: 0 }, relativeBias }: AttentionOptions,
): Tensor {
  const { backend } = q;
  const bias = [
    relativeBias?.table.handle ?? 0,
    relativeBias?.bidirectional ?? false,
    relativeBias?.maxDistance ?? 0,
    relativeBias?.unbiasedKeys ?? 0,
  ] as const;
  const settings = [heads, causal, scale, dropout.p, dropout.seed, dropout.stream, ...bias] as const;
  const [out = 0, lse = 0] = Array.from(
    backend.attention(q.handle, k.handle, v.handle, cuQ.handle, cuK.handle, ...settings),
  );
  const inputs = [q, k, v, relativeBias?.table];
  const backward = (dout: number): GradientHandles => {
    const forward = [q.handle, k.handle, v.handle, out, lse, cuQ.handle, cuK.handle] as const;
    const wantBias = relativeBias?.table.requiresGrad ?? false;
    return Array.from(backend.attentionBackward(dout, ...forward, ...settings, wantBias));
  };
  return recordOne('attention', backend, inputs, out, q.shape, backward, [lse]);
}
