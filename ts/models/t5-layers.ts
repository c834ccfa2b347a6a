import { AttentionLayout } from '../nn/attention-layout.js';
import type { Embedding } from '../nn/embedding.js';
import type { ForwardContext, MlpObservation } from '../nn/forward-context.js';
import type { KeyValueCache } from '../nn/key-value-cache.js';
import type { LinearLike } from '../nn/linear.js';
import { MlpBlock } from '../nn/mlp-block.js';
import { Module } from '../nn/module.js';
import { recomputed } from '../nn/recomputed.js';
import { ResidualConnection, type Sublayer } from '../nn/residual-connection.js';
import { VirtualInputs } from '../nn/virtual-inputs.js';
import { RmsNorm } from '../nn/rms-norm.js';
import { gatedActivate, type Activated } from '../ops/activate.js';
import { activationKind } from '../ops/activation-kind.js';
import { attention, type RelativeBias } from '../ops/attention.js';
import { dropout } from '../ops/dropout.js';
import { Tensor } from '../tensor/tensor.js';
import type { T5Config } from './t5-config.js';
import type { WeightReader } from './weights.js';

// The two stacks of T5 (Raffel et al. 2020). Property names are the checkpoint's own; dropouts are where transformers has them.

type Side = MlpObservation['side'];

/** What the decoder's cross-attention reads: the encoder's output, or the keys and values made of it before. */
export interface CrossSource {
  /** Offsets of the decoder's tokens that read the same prompt. */
  cuQ: Tensor;
  /** Offsets of the prompts. */
  cuK: Tensor;
  /** The encoder's output, where it is read itself. */
  encoded?: Tensor | undefined;
  /** @param project makes a layer's keys and values of the encoder's output */
  keysAndValues(
    layer: number,
    project: (encoded: Tensor) => readonly [keys: Tensor, values: Tensor],
  ): readonly [keys: Tensor, values: Tensor];
}

/** Queries, keys and values of width heads · d_kv, which need not be d_model; scores are not scaled. */
class T5Attention extends Module {
  constructor(
    readonly q: LinearLike,
    readonly k: LinearLike,
    readonly v: LinearLike,
    readonly o: LinearLike,
    private readonly heads: number,
    private readonly p: number,
    /** [buckets, heads], in a stack's first block: all its blocks use it. */
    readonly relative_attention_bias?: Embedding,
  ) {
    super();
  }

  keysAndValues(x: Tensor, context: ForwardContext): readonly [keys: Tensor, values: Tensor] {
    return [this.k.forward(x, context), this.v.forward(x, context)];
  }

  forward(
    x: Tensor,
    [keys, values]: readonly [keys: Tensor, values: Tensor],
    { cuQ, cuK }: { cuQ: Tensor; cuK: Tensor },
    options: { causal?: boolean; relativeBias?: RelativeBias },
    context: ForwardContext,
  ): Tensor {
    const queries = this.q.forward(x, context);
    const drop = context.dropout(this.p);
    const attended = attention(queries, keys, values, cuQ, cuK, {
      ...options,
      heads: this.heads,
      scale: 1,
      dropout: drop,
    });
    return this.o.forward(attended, context);
  }
}

/** norm, attention within a sequence, dropout, residual */
class T5LayerSelfAttention extends Module {
  constructor(
    readonly SelfAttention: T5Attention,
    readonly layer_norm: RmsNorm,
    readonly residual: ResidualConnection,
    private readonly layer: number,
    private readonly causal: boolean,
  ) {
    super();
  }

  forward(x: Tensor, layout: AttentionLayout, relativeBias: RelativeBias, context: ForwardContext): Tensor {
    const { causal } = this;
    const normed = this.layer_norm.forward(x);
    const own = this.SelfAttention.keysAndValues(normed, context);
    const all = layout.keysAndValues(this.layer, ...own);
    const attended = this.SelfAttention.forward(normed, all, layout, { causal, relativeBias }, context);
    return this.residual.forward(attended, x, context);
  }
}

/** norm, attention to the encoder's output without positions, dropout, residual */
class T5LayerCrossAttention extends Module {
  constructor(
    readonly EncDecAttention: T5Attention,
    readonly layer_norm: RmsNorm,
    readonly residual: ResidualConnection,
    private readonly layer: number,
  ) {
    super();
  }

  forward(x: Tensor, source: CrossSource, context: ForwardContext): Tensor {
    const project = (encoded: Tensor): readonly [Tensor, Tensor] =>
      this.EncDecAttention.keysAndValues(encoded, context);
    const all = source.keysAndValues(this.layer, project);
    const normed = this.layer_norm.forward(x);
    return this.residual.forward(this.EncDecAttention.forward(normed, all, source, {}, context), x, context);
  }
}

/** The MLP of version 1.0. */
class T5DenseActDense extends Module {
  constructor(
    readonly wi: LinearLike,
    readonly wo: LinearLike,
    private readonly kind: number,
  ) {
    super();
  }

  activated(x: Tensor, context: ForwardContext, cutoff: number): Activated {
    return this.wi.activated(x, this.kind, context, cutoff);
  }
}

/** The gated MLP of version 1.1 (Shazeer 2020). */
class T5DenseGatedActDense extends Module {
  constructor(
    readonly wi_0: LinearLike,
    readonly wi_1: LinearLike,
    readonly wo: LinearLike,
    private readonly kind: number,
  ) {
    super();
  }

  activated(x: Tensor, context: ForwardContext, cutoff: number): Activated {
    const options = { element: context.element, cutoff };
    return gatedActivate(this.wi_0.forward(x, context), this.wi_1.forward(x, context), this.kind, options);
  }
}

/** norm, MLP with a dropout in it, dropout, residual */
class T5LayerFF extends Module {
  readonly block: MlpBlock;

  /** @param isLoaded whether the MLP's weights are there */
  constructor(
    readonly DenseReluDense: T5DenseActDense | T5DenseGatedActDense,
    readonly layer_norm: RmsNorm,
    readonly residual: ResidualConnection,
    name: string,
    side: Side,
    p: number,
    isLoaded: boolean,
  ) {
    super();
    this.block = new MlpBlock(name, side, isLoaded, {
      activated: (x, context, cutoff) => this.DenseReluDense.activated(x, context, cutoff),
      between: (out, context) => dropped(out, p, context),
      down: () => this.DenseReluDense.wo,
    });
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    return this.residual.forward(this.block.forward(this.layer_norm.forward(x), context), x, context);
  }
}

class T5Block extends Module {
  constructor(readonly layer: readonly [T5LayerSelfAttention, ...(T5LayerCrossAttention | T5LayerFF)[]]) {
    super();
  }

  forward(
    x: Tensor,
    layout: AttentionLayout,
    relativeBias: RelativeBias,
    source: CrossSource | undefined,
    context: ForwardContext,
  ): Tensor {
    const [self, ...rest] = this.layer;
    const attended = self.forward(x, layout, relativeBias, context);
    return rest.reduce(
      (hiddenStates, layer) =>
        layer instanceof T5LayerCrossAttention
          ? layer.forward(hiddenStates, source as CrossSource, context)
          : layer.forward(hiddenStates, context),
      attended,
    );
  }
}

/** The encoder or the decoder. */
export class T5Stack extends Module {
  constructor(
    readonly block: readonly T5Block[],
    readonly final_layer_norm: RmsNorm,
    readonly virtual: VirtualInputs,
    private readonly side: Side,
    private readonly maxDistance: number,
    private readonly p: number,
  ) {
    super();
  }

  /**
   * Last hidden state [tokens, d].
   *
   * @param embedded [tokens, d]
   * @param cuSeqlens offsets of the sequences
   * @param source what a decoder reads besides
   * @param cache of a decoder's earlier tokens
   */
  forward(
    embedded: Tensor,
    cuSeqlens: Int32Array,
    context: ForwardContext,
    source?: CrossSource,
    cache?: KeyValueCache,
  ): Tensor {
    const isFirst = cache?.isEmpty ?? true;
    const virtual = isFirst ? this.virtual.keys?.forward(context) : undefined;
    const layout = new AttentionLayout(embedded.backend, cuSeqlens, { cache, virtual });
    const relativeBias: RelativeBias = {
      table: (this.block[0]?.layer[0].SelfAttention.relative_attention_bias as Embedding).weight,
      bidirectional: this.side === 'encoder',
      maxDistance: this.maxDistance,
    };
    const hiddenStates = this.block.reduce(
      (x, block) =>
        recomputed(block, x, context, (input) => block.forward(input, layout, relativeBias, source, context), [
          source?.encoded,
          relativeBias.table,
          ...layout.inputs,
        ]),
      dropped(embedded, this.p, context),
    );
    return dropped(this.final_layer_norm.forward(hiddenStates), this.p, context);
  }
}

/** Reads a stack from a checkpoint. @param side its name there @param shared the word embeddings */
export function buildT5Stack(weights: WeightReader, side: Side, c: T5Config, shared: Embedding): T5Stack {
  const d = c.dModel;
  const inner = c.heads * c.dKv;
  const kind = activationKind(c.activation);
  const linear = (path: string, outputs: number, inputs: number): LinearLike =>
    weights.linear(path, outputs, inputs, { bias: false });
  const norm = (path: string): RmsNorm =>
    new RmsNorm(weights.parameter(`${path}.weight`, [d], { fresh: 'ones' }), c.eps);
  const attentionAt = (path: string, bias: boolean): T5Attention =>
    new T5Attention(
      linear(`${path}.q`, inner, d),
      linear(`${path}.k`, inner, d),
      linear(`${path}.v`, inner, d),
      linear(`${path}.o`, d, inner),
      c.heads,
      c.dropout,
      bias ? weights.embedding(`${path}.relative_attention_bias`, c.buckets, c.heads) : undefined,
    );
  const mlpAt = (path: string): T5DenseActDense | T5DenseGatedActDense =>
    c.gated
      ? new T5DenseGatedActDense(
          linear(`${path}.wi_0`, c.dFf, d),
          linear(`${path}.wi_1`, c.dFf, d),
          linear(`${path}.wo`, d, c.dFf),
          kind,
        )
      : new T5DenseActDense(linear(`${path}.wi`, c.dFf, d), linear(`${path}.wo`, d, c.dFf), kind);
  const isDecoder = side === 'decoder';
  const end = (sublayer: Sublayer, path: string, index: number): ResidualConnection =>
    new ResidualConnection(sublayer, path, isDecoder ? c.encoderLayers + index : index, d, c.dropout);
  const layers = isDecoder ? c.decoderLayers : c.encoderLayers;
  const blocks = Array.from({ length: layers }, (_, index) => {
    const path = (layer: number): string => `${side}.block.${index}.layer.${layer}`;
    const self = new T5LayerSelfAttention(
      attentionAt(`${path(0)}.SelfAttention`, index === 0),
      norm(`${path(0)}.layer_norm`),
      end('attention', path(0), index),
      index,
      isDecoder,
    );
    const cross = (): T5LayerCrossAttention =>
      new T5LayerCrossAttention(
        attentionAt(`${path(1)}.EncDecAttention`, false),
        norm(`${path(1)}.layer_norm`),
        end('cross-attention', path(1), index),
        index,
      );
    const last = isDecoder ? 2 : 1;
    const name = `${side}.block.${index}`;
    const mlp = (): T5LayerFF =>
      new T5LayerFF(
        weights.ofMlp(name, () => mlpAt(`${path(last)}.DenseReluDense`)),
        norm(`${path(last)}.layer_norm`),
        end('mlp', path(last), index),
        name,
        side,
        c.dropout,
        weights.loadsMlp(name),
      );
    return new T5Block(isDecoder ? [self, cross(), mlp()] : [self, mlp()]);
  });
  const sizes = { layers, heads: c.heads, width: d, keyWidth: inner };
  const virtual = new VirtualInputs(side, sizes, [isDecoder ? 'keys' : 'words'], () => shared.weight);
  return new T5Stack(blocks, norm(`${side}.final_layer_norm`), virtual, side, c.maxDistance, c.dropout);
}

function dropped(x: Tensor, p: number, context: ForwardContext): Tensor {
  const drop = context.dropout(p);
  return drop ? dropout(x, drop) : x;
}
