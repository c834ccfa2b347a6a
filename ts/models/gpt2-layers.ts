import { AttentionLayout } from '../nn/attention-layout.js';
import type { Embedding } from '../nn/embedding.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { offsetsOf, type KeyValueCache } from '../nn/key-value-cache.js';
import type { LayerNorm } from '../nn/layer-norm.js';
import type { LinearLike } from '../nn/linear.js';
import { MlpBlock } from '../nn/mlp-block.js';
import { Module } from '../nn/module.js';
import { ResidualConnection } from '../nn/residual-connection.js';
import { runLayers } from '../nn/run-layers.js';
import { VirtualInputs } from '../nn/virtual-inputs.js';
import { wantedRows } from '../nn/wanted-rows.js';
import { activationKind } from '../ops/activation-kind.js';
import { attention } from '../ops/attention.js';
import { splitCols } from '../ops/columns.js';
import { dropout } from '../ops/dropout.js';
import { add } from '../ops/elementwise.js';
import { Tensor } from '../tensor/tensor.js';
import type { ConfigReader } from './config-reader.js';
import { headRows } from './head-rows.js';
import type { WeightReader } from './weights.js';

// The decoder of GPT-2 (Radford et al. 2019). Property names are the checkpoint's own.

/** Sizes and probabilities of a GPT-2. */
export interface GPT2Config {
  vocabSize: number;
  hiddenSize: number;
  layers: number;
  heads: number;
  dFf: number;
  activation: string;
  positions: number;
  eps: number;
  /** Factor on the attention scores, by layer. */
  attentionScales: readonly number[];
  embeddingDropout: number;
  attentionDropout: number;
  residualDropout: number;
  classifierDropout: number;
  initializerRange: number;
  padTokenId: number | undefined;
  /** Whether the word embeddings score the vocabulary. */
  tied: boolean;
}

/** Tokens laid end to end, and those whose hidden states are wanted (default: all). */
interface GPT2Input {
  inputIds: Int32Array;
  positionIds: Int32Array;
  cuSeqlens: Int32Array;
  outputRows?: Int32Array | undefined;
}

class GPT2Attention extends Module {
  constructor(
    readonly c_attn: LinearLike,
    readonly c_proj: LinearLike,
    private readonly layer: number,
    private readonly heads: number,
    private readonly scale: number,
    private readonly p: number,
  ) {
    super();
  }

  /**
   * What is added to the residual stream, before its dropout.
   *
   * @param rows those of `x` that attend to it, the last of each sequence; default all
   */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor {
    const d = x.cols;
    const [q, ownK, ownV] = splitCols(this.c_attn.forward(x, context), [d, d, d]) as [Tensor, Tensor, Tensor];
    const [k, v] = layout.keysAndValues(this.layer, ownK, ownV);
    // One projection makes queries, keys and values: those not wanted were made with the keys.
    const attended = attention(wantedRows(q, rows), k, v, rows ? layout.cuOne() : layout.cuQ, layout.cuK, {
      heads: this.heads,
      scale: this.scale,
      causal: true,
      dropout: context.dropout(this.p),
    });
    return this.c_proj.forward(attended, context);
  }
}

class GPT2MLP extends Module {
  readonly block: MlpBlock;

  /** @param isLoaded whether the weights are there */
  constructor(
    readonly c_fc: LinearLike,
    readonly c_proj: LinearLike,
    name: string,
    kind: number,
    isLoaded: boolean,
  ) {
    super();
    this.block = new MlpBlock(name, 'decoder', isLoaded, {
      activated: (x, context, cutoff) => this.c_fc.activated(x, kind, context, cutoff),
      down: () => this.c_proj,
    });
  }
}

class GPT2Block extends Module {
  constructor(
    readonly ln_1: LayerNorm,
    readonly attn: GPT2Attention,
    readonly ln_2: LayerNorm,
    readonly mlp: GPT2MLP,
    readonly attentionResidual: ResidualConnection,
    readonly mlpResidual: ResidualConnection,
  ) {
    super();
  }

  /** @param rows those of `x` that are wanted, the last of each sequence; default all */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor {
    const attention = this.attn.forward(this.ln_1.forward(x), layout, context, rows);
    const attended = this.attentionResidual.forward(attention, wantedRows(x, rows), context);
    return this.mlpResidual.forward(this.mlp.block.forward(this.ln_2.forward(attended), context), attended, context);
  }
}

/** Embeddings, blocks and the last layer norm. */
export class GPT2Model extends Module {
  constructor(
    readonly wte: Embedding,
    readonly wpe: Embedding,
    readonly h: readonly GPT2Block[],
    readonly ln_f: LayerNorm,
    readonly virtual: VirtualInputs,
    private readonly p: number,
  ) {
    super();
  }

  /** The last hidden states [tokens, d], or those of `outputRows` alone. @param cache where the tokens follow others */
  forward(given: GPT2Input, context: ForwardContext, cache?: KeyValueCache): Tensor {
    const input = this.virtual.extend(given, cache?.isEmpty ?? true);
    return this.ln_f.forward(headRows(this.blocks(input, context, { cache }), input));
  }

  /** The last hidden state of one token of each sequence [sequences, d]. @param rows these tokens, in the order of the sequences */
  pooled(batch: GPT2Input, rows: Int32Array, context: ForwardContext): Tensor {
    const input = this.virtual.extend(context.pooledTokensOnly ? upTo(rows, batch) : { ...batch, outputRows: rows });
    return this.ln_f.forward(
      this.blocks(input, context, { rows: Tensor.fromInts(this.wte.weight.backend, input.outputRows) }),
    );
  }

  /** What the blocks make of an extended batch [tokens, d]. @param rows as of {@link runLayers} */
  private blocks(
    input: GPT2Input,
    context: ForwardContext,
    { cache, rows }: { cache?: KeyValueCache | undefined; rows?: Tensor },
  ): Tensor {
    const isFirst = cache?.isEmpty ?? true;
    const { backend } = this.wte.weight;
    const ids = (values: Int32Array): Tensor => Tensor.fromInts(backend, values);
    const words = this.virtual.embed(input, (inputIds) => this.wte.forward(ids(inputIds)), context, isFirst);
    const embedded = add(words, this.wpe.forward(ids(input.positionIds)));
    const drop = context.dropout(this.p);
    const virtual = isFirst ? this.virtual.keys?.forward(context) : undefined;
    const layout = new AttentionLayout(backend, input.cuSeqlens, { cache, virtual });
    return runLayers(this.h, drop ? dropout(embedded, drop) : embedded, layout, context, rows);
  }
}

/** The sequences up to one row of each: attention is causal, so that what follows has no part in it. @param rows in the order of the sequences */
function upTo(
  rows: Int32Array,
  { inputIds, positionIds, cuSeqlens }: GPT2Input,
): GPT2Input & { outputRows: Int32Array } {
  const cut = (values: Int32Array): Int32Array =>
    Int32Array.from([...rows].flatMap((row, sequence) => [...values.subarray(cuSeqlens[sequence], row + 1)]));
  const lengths = [...rows].map((row, sequence) => row + 1 - (cuSeqlens[sequence] as number));
  const offsets = offsetsOf(lengths);
  return {
    inputIds: cut(inputIds),
    positionIds: cut(positionIds),
    cuSeqlens: offsets,
    outputRows: offsets.slice(1).map((end) => end - 1),
  };
}

/** Fields of GPT-2's config.json. @param dropoutProbability overrides every probability */
export function readGPT2Config(reader: ConfigReader, dropoutProbability: number | undefined): GPT2Config {
  reader.only('add_cross_attention', false);
  // Upcasting changes half precision alone; all is computed in f32 here.
  reader.boolean('reorder_and_upcast_attn', false);
  const probability = (field: string, fallback: number): number =>
    dropoutProbability ?? reader.number(field, { min: 0, max: 0.999, fallback });
  const hiddenSize = reader.integer('n_embd', { max: 65_535 });
  const heads = reader.integer('n_head', { max: 1024 });
  reader.divides('n_head', heads, 'n_embd', hiddenSize);
  const layers = reader.integer('n_layer', { max: 1000 });
  const scale = reader.boolean('scale_attn_weights', true) ? 1 / Math.sqrt(hiddenSize / heads) : 1;
  const byLayer = reader.boolean('scale_attn_by_inverse_layer_idx', false);
  const vocabSize = reader.integer('vocab_size');
  return {
    vocabSize,
    hiddenSize,
    layers,
    heads,
    dFf: reader.integer('n_inner', { max: 262_140, fallback: 4 * hiddenSize }),
    activation: reader.activation('activation_function', 'gelu_new'),
    positions: reader.integer('n_positions', { fallback: 1024 }),
    eps: reader.number('layer_norm_epsilon', { min: 0, max: 1, fallback: 1e-5 }),
    attentionScales: Array.from({ length: layers }, (_, layer) => (byLayer ? scale / (layer + 1) : scale)),
    embeddingDropout: probability('embd_pdrop', 0.1),
    attentionDropout: probability('attn_pdrop', 0.1),
    residualDropout: probability('resid_pdrop', 0.1),
    classifierDropout: probability('classifier_dropout', probability('hidden_dropout', 0.1)),
    initializerRange: reader.number('initializer_range', { min: 0, max: 10, fallback: 0.02 }),
    padTokenId: reader.tokenId('pad_token_id'),
    tied: reader.boolean('tie_word_embeddings', true),
  };
}

/** Embeddings and blocks from a checkpoint. */
export function buildGPT2Model(weights: WeightReader, c: GPT2Config): GPT2Model {
  const d = c.hiddenSize;
  const kind = activationKind(c.activation);
  const wte = weights.embedding('transformer.wte', c.vocabSize, d);
  const wpe = weights.embedding('transformer.wpe', c.positions, d);
  const blocks = c.attentionScales.map((scale, index) => {
    const path = `transformer.h.${index}`;
    const name = `h.${index}`;
    return new GPT2Block(
      weights.layerNorm(`${path}.ln_1`, d, c.eps),
      new GPT2Attention(
        weights.conv1d(`${path}.attn.c_attn`, 3 * d, d),
        weights.conv1d(`${path}.attn.c_proj`, d, d),
        index,
        c.heads,
        scale,
        c.attentionDropout,
      ),
      weights.layerNorm(`${path}.ln_2`, d, c.eps),
      weights.ofMlp(
        name,
        () =>
          new GPT2MLP(
            weights.conv1d(`${path}.mlp.c_fc`, c.dFf, d),
            weights.conv1d(`${path}.mlp.c_proj`, d, c.dFf),
            name,
            kind,
            weights.loadsMlp(name),
          ),
      ),
      new ResidualConnection('attention', `${path}.attention_adapters`, index, d, c.residualDropout),
      new ResidualConnection('mlp', `${path}.output_adapters`, index, d, c.residualDropout),
    );
  });
  const virtual = new VirtualInputs(
    'decoder',
    { layers: c.layers, heads: c.heads, width: d, keyWidth: d },
    ['keys', 'words'],
    () => wte.weight,
    { base: 'transformer', attention: (layer) => `transformer.h.${layer}.attn`, hasTokens: false },
  );
  return new GPT2Model(wte, wpe, blocks, weights.layerNorm('transformer.ln_f', d, c.eps), virtual, c.embeddingDropout);
}
