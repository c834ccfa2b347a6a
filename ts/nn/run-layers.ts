import type { Tensor } from '../tensor/tensor.js';
import type { AttentionLayout } from './attention-layout.js';
import type { ForwardContext } from './forward-context.js';
import type { Module } from './module.js';
import { recomputed } from './recomputed.js';
import { wantedRows } from './wanted-rows.js';

/** A layer of self-attention and MLP that can run for one token of each sequence. */
export interface SelfAttentionLayer extends Module {
  /** @param rows those of `x` that are wanted, one of each sequence; default all */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor;
}

/**
 * Runs layers one after another, the last for `rows` alone where the context asks for it.
 *
 * @param x what the first is applied to [tokens, d]
 * @param rows those of the last layer's that are wanted, one of each sequence, and each its sequence's last where attention is causal;
 * default all
 */
export function runLayers(
  layers: readonly SelfAttentionLayer[],
  x: Tensor,
  layout: AttentionLayout,
  context: ForwardContext,
  rows?: Tensor,
): Tensor {
  const early = context.pooledTokensOnly ? rows : undefined;
  const last = layers.at(-1);
  const hiddenStates = layers.reduce(
    (hiddenStates, layer) =>
      recomputed(
        layer,
        hiddenStates,
        context,
        (input) => layer.forward(input, layout, context, layer === last ? early : undefined),
        layout.inputs,
      ),
    x,
  );
  return early ? hiddenStates : wantedRows(hiddenStates, rows);
}
