import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientCase, type GradientChecks } from '../gradient-check.js';
import { ints, pick } from './case-inputs.js';

function attentionCase(
  title: string,
  cuQ: readonly number[],
  cuK: readonly number[],
  options: {
    causal?: boolean;
    p?: number;
    heads?: number;
    headDim?: number;
    bias?: { bidirectional: boolean; unbiasedKeys?: number };
  },
): GradientCase {
  const { causal = false, p, heads = 2, headDim = 3, bias } = options;
  const width = heads * headDim;
  return {
    title,
    inputs: {
      q: uniform([cuQ.at(-1) ?? 0, width], 41),
      k: uniform([cuK.at(-1) ?? 0, width], 42),
      v: uniform([cuK.at(-1) ?? 0, width], 43),
      ...(bias ? { table: uniform([6, heads], 44) } : {}),
    },
    run: (backend, inputs) => [
      ops.attention(pick(inputs, 'q'), pick(inputs, 'k'), pick(inputs, 'v'), ints(backend, cuQ), ints(backend, cuK), {
        heads,
        scale: 1 / Math.sqrt(headDim),
        causal,
        ...(p === undefined ? {} : { dropout: { p, seed: 7, stream: 8 } }),
        ...(bias ? { relativeBias: { table: pick(inputs, 'table'), maxDistance: 5, ...bias } } : {}),
      }),
    ],
  };
}

export const ATTENTION: GradientChecks = {
  attention: [
    attentionCase('ragged self-attention', [0, 3, 4, 8], [0, 3, 4, 8], {}),
    attentionCase('causal', [0, 3, 4, 8], [0, 3, 4, 8], { causal: true }),
    attentionCase('cross-attention, other lengths of keys', [0, 2, 5], [0, 4, 5], {}),
    attentionCase('with dropout', [0, 3, 8], [0, 3, 8], { p: 0.3 }),
    attentionCase('causal with cached keys, one query a sequence', [0, 1, 2], [0, 4, 6], { causal: true }),
    attentionCase('relative bias of an encoder', [0, 9, 12], [0, 9, 12], { bias: { bidirectional: true } }),
    attentionCase('relative bias of a decoder with cached keys', [0, 1, 3], [0, 8, 11], {
      causal: true,
      bias: { bidirectional: false },
    }),
    attentionCase('relative bias with virtual keys and dropout', [0, 4, 6], [0, 6, 10], {
      p: 0.3,
      bias: { bidirectional: true, unbiasedKeys: 2 },
    }),
    attentionCase('three heads of width 12', [0, 1, 4], [0, 1, 4], { heads: 3, headDim: 12 }),
  ],
};
