import type { RaggedBatch } from '../data/batching.js';
import { AttentionLayout } from '../nn/attention-layout.js';
import { Embedding } from '../nn/embedding.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { LayerNorm } from '../nn/layer-norm.js';
import type { LinearLike } from '../nn/linear.js';
import { MlpBlock } from '../nn/mlp-block.js';
import { Module } from '../nn/module.js';
import { ResidualConnection, type Sublayer } from '../nn/residual-connection.js';
import { runLayers } from '../nn/run-layers.js';
import { VirtualInputs } from '../nn/virtual-inputs.js';
import { wantedRows } from '../nn/wanted-rows.js';
import { activationKind } from '../ops/activation-kind.js';
import { attention } from '../ops/attention.js';
import { dropout } from '../ops/dropout.js';
import { activation, add } from '../ops/elementwise.js';
import { Tensor } from '../tensor/tensor.js';
import type { ConfigReader } from './config-reader.js';
import type { WeightReader } from './weights.js';

// The encoder of BERT (Devlin et al. 2019), which RoBERTa shares. Property names are the checkpoint's own.

/** Sizes and probabilities of a BERT-like encoder. */
export interface BertConfig {
  vocabSize: number;
  hiddenSize: number;
  layers: number;
  heads: number;
  dFf: number;
  activation: string;
  positions: number;
  /** Tokens of the longest sequence. */
  maxLength: number;
  padTokenId: number;
  types: number;
  eps: number;
  hiddenDropout: number;
  attentionDropout: number;
  classifierDropout: number;
  initializerRange: number;
}

class BertEmbeddings extends Module {
  constructor(
    readonly word_embeddings: Embedding,
    readonly position_embeddings: Embedding,
    readonly token_type_embeddings: Embedding,
    readonly LayerNorm: LayerNorm,
    private readonly p: number,
    private readonly positionsOf: (batch: RaggedBatch) => Int32Array,
  ) {
    super();
  }

  /** [tokens, d] */
  forward(batch: RaggedBatch, virtual: VirtualInputs, context: ForwardContext): Tensor {
    const { backend } = this.word_embeddings.weight;
    const ids = (values: Int32Array): Tensor => Tensor.fromInts(backend, values);
    const words = virtual.embed(batch, (inputIds) => this.word_embeddings.forward(ids(inputIds)), context);
    const positions = this.position_embeddings.forward(ids(this.positionsOf(batch)));
    // RoBERTa knows one type, and its pairs are of that.
    const isTyped = this.token_type_embeddings.weight.rows > 1;
    const types = this.token_type_embeddings.forward(
      ids(isTyped ? batch.tokenTypeIds : new Int32Array(batch.inputIds.length)),
    );
    const normed = this.LayerNorm.forward(add(add(words, types), positions));
    const drop = context.dropout(this.p);
    return drop ? dropout(normed, drop) : normed;
  }
}

class BertSelfAttention extends Module {
  constructor(
    readonly query: LinearLike,
    readonly key: LinearLike,
    readonly value: LinearLike,
    private readonly layer: number,
    private readonly heads: number,
    private readonly p: number,
  ) {
    super();
  }

  /** @param queries rows that attend to `x`: itself, or one of each sequence */
  forward(queries: Tensor, x: Tensor, layout: AttentionLayout, context: ForwardContext): Tensor {
    const q = this.query.forward(queries, context);
    const [k, v] = layout.keysAndValues(this.layer, this.key.forward(x, context), this.value.forward(x, context));
    return attention(q, k, v, queries === x ? layout.cuQ : layout.cuOne(), layout.cuK, {
      heads: this.heads,
      scale: 1 / Math.sqrt(q.cols / this.heads),
      dropout: context.dropout(this.p),
    });
  }
}

/** dense, dropout, residual, layer norm: the end of both halves of a layer. */
class BertOutput extends Module {
  constructor(
    readonly dense: LinearLike,
    readonly LayerNorm: LayerNorm,
    readonly residual: ResidualConnection,
  ) {
    super();
  }

  forward(x: Tensor, residual: Tensor, context: ForwardContext): Tensor {
    return this.join(this.dense.forward(x, context), residual, context);
  }

  /** The same from the projection on. */
  join(projected: Tensor, residual: Tensor, context: ForwardContext): Tensor {
    return this.residual.forward(projected, residual, context, this.LayerNorm);
  }
}

class BertAttention extends Module {
  constructor(
    readonly self: BertSelfAttention,
    readonly output: BertOutput,
  ) {
    super();
  }

  /** @param queries as in {@link BertSelfAttention.forward} */
  forward(queries: Tensor, x: Tensor, layout: AttentionLayout, context: ForwardContext): Tensor {
    return this.output.forward(this.self.forward(queries, x, layout, context), queries, context);
  }
}

class BertIntermediate extends Module {
  constructor(readonly dense: LinearLike) {
    super();
  }
}

class BertLayer extends Module {
  readonly mlp: MlpBlock;

  /** @param isLoaded whether the MLP's weights are there */
  constructor(
    name: string,
    readonly attention: BertAttention,
    readonly intermediate: BertIntermediate,
    readonly output: BertOutput,
    kind: number,
    isLoaded: boolean,
  ) {
    super();
    this.mlp = new MlpBlock(name, 'encoder', isLoaded, {
      activated: (x, context, cutoff) => this.intermediate.dense.activated(x, kind, context, cutoff),
      down: () => this.output.dense,
    });
  }

  /** @param rows those of `x` that are wanted, one of each sequence; default all */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor {
    const attended = this.attention.forward(wantedRows(x, rows), x, layout, context);
    return this.output.join(this.mlp.forward(attended, context), attended, context);
  }
}

class BertEncoder extends Module {
  constructor(readonly layer: readonly BertLayer[]) {
    super();
  }

  /** @param rows those of the last layer's that are wanted, one of each sequence; default all */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor {
    return runLayers(this.layer, x, layout, context, rows);
  }
}

/** tanh of a projection of each sequence's first token. */
export class BertPooler extends Module {
  constructor(readonly dense: LinearLike) {
    super();
  }

  /** [sequences, d] @param first as of {@link BertModel.firstTokens} */
  forward(first: Tensor, context: ForwardContext): Tensor {
    return activation(this.dense.forward(first, context), activationKind('tanh'));
  }
}

/** Embeddings and encoder, with the pooler where it is used. */
export class BertModel extends Module {
  constructor(
    readonly embeddings: BertEmbeddings,
    readonly encoder: BertEncoder,
    readonly virtual: VirtualInputs,
    /** Where the head reads pooled sequences. */
    readonly pooler?: BertPooler,
  ) {
    super();
  }

  /** The batch with what stands before its sequences: what the encoder and the heads read. */
  extend(batch: RaggedBatch): RaggedBatch {
    return this.virtual.extend(batch);
  }

  /**
   * lastHiddenState [tokens, d], or of `rows` alone
   *
   * @param batch as {@link BertModel.extend} makes it
   * @param rows one of each sequence; default all
   */
  forward(batch: RaggedBatch, context: ForwardContext, rows?: Tensor): Tensor {
    const { backend } = this.embeddings.word_embeddings.weight;
    const layout = new AttentionLayout(backend, batch.cuSeqlens, { virtual: this.virtual.keys?.forward(context) });
    const embedded = this.embeddings.forward(batch, this.virtual, context);
    return this.encoder.forward(this.virtual.join(embedded, batch, context), layout, context, rows);
  }

  /** Last hidden state of each sequence's first token [sequences, d] @param batch as {@link BertModel.extend} makes it */
  firstTokens(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { backend } = this.embeddings.word_embeddings.weight;
    return this.forward(batch, context, Tensor.fromInts(backend, batch.cuSeqlens.slice(0, -1)));
  }
}

/** What differs between BERT and RoBERTa apart from their heads. */
export interface BertVariant {
  /** `layer_norm_eps` where config.json does not say. */
  eps: number;
  /** `pad_token_id` where config.json does not say. */
  padTokenId: number;
  /** Position embeddings before that of the first token. */
  reservedPositions(padTokenId: number): number;
  /** [tokens] */
  positionIds(batch: RaggedBatch, config: BertConfig): Int32Array;
}

/** Fields that BERT's and RoBERTa's config.json share. @param dropout overrides every probability */
export function readBertConfig(reader: ConfigReader, variant: BertVariant, dropout: number | undefined): BertConfig {
  reader.only('position_embedding_type', 'absolute');
  reader.only('is_decoder', false);
  reader.only('add_cross_attention', false);
  const probability = (field: string, fallback: number): number =>
    dropout ?? reader.number(field, { min: 0, max: 0.999, fallback });
  const hiddenDropout = probability('hidden_dropout_prob', 0.1);
  const vocabSize = reader.integer('vocab_size');
  const padTokenId = reader.integer('pad_token_id', { min: 0, max: vocabSize - 1, fallback: variant.padTokenId });
  const reserved = variant.reservedPositions(padTokenId);
  const positions = reader.integer('max_position_embeddings', { min: reserved + 1 });
  const config = {
    vocabSize,
    hiddenSize: reader.integer('hidden_size', { max: 65_535 }),
    layers: reader.integer('num_hidden_layers', { max: 1000 }),
    heads: reader.integer('num_attention_heads', { max: 1024 }),
    dFf: reader.integer('intermediate_size', { max: 65_535 }),
    activation: reader.activation('hidden_act', 'gelu'),
    positions,
    maxLength: positions - reserved,
    padTokenId,
    types: reader.integer('type_vocab_size', { fallback: 2 }),
    eps: reader.number('layer_norm_eps', { min: 0, max: 1, fallback: variant.eps }),
    hiddenDropout,
    attentionDropout: probability('attention_probs_dropout_prob', 0.1),
    classifierDropout: probability('classifier_dropout', hiddenDropout),
    initializerRange: reader.number('initializer_range', { min: 0, max: 10, fallback: 0.02 }),
  };
  reader.divides('num_attention_heads', config.heads, 'hidden_size', config.hiddenSize);
  return config;
}

/** Embeddings, encoder and (`pooled`) pooler from a checkpoint. @param prefix e.g. `bert` */
export function buildBertModel(
  weights: WeightReader,
  prefix: string,
  c: BertConfig,
  variant: BertVariant,
  pooled: boolean,
): BertModel {
  const d = c.hiddenSize;
  const kind = activationKind(c.activation);
  const norm = (path: string): LayerNorm => weights.layerNorm(`${path}.LayerNorm`, d, c.eps);
  const output = (path: string, inputs: number, sublayer: Sublayer, layer: number): BertOutput =>
    new BertOutput(
      weights.linear(`${path}.dense`, d, inputs),
      norm(path),
      new ResidualConnection(sublayer, path, layer, d, c.hiddenDropout),
    );
  const words = weights.embedding(`${prefix}.embeddings.word_embeddings`, c.vocabSize, d);
  const embeddings = new BertEmbeddings(
    words,
    weights.embedding(`${prefix}.embeddings.position_embeddings`, c.positions, d),
    weights.embedding(`${prefix}.embeddings.token_type_embeddings`, c.types, d),
    norm(`${prefix}.embeddings`),
    c.hiddenDropout,
    (batch) => variant.positionIds(batch, c),
  );
  const layers = Array.from({ length: c.layers }, (_, index) => {
    const path = `${prefix}.encoder.layer.${index}`;
    const projection = (name: string): LinearLike => weights.linear(`${path}.attention.self.${name}`, d, d);
    const [query, key, value] = [projection('query'), projection('key'), projection('value')];
    const name = `encoder.layer.${index}`;
    return new BertLayer(
      name,
      new BertAttention(
        new BertSelfAttention(query, key, value, index, c.heads, c.attentionDropout),
        output(`${path}.attention.output`, d, 'attention', index),
      ),
      weights.ofMlp(name, () => new BertIntermediate(weights.linear(`${path}.intermediate.dense`, c.dFf, d))),
      weights.ofMlp(name, () => output(`${path}.output`, c.dFf, 'mlp', index)),
      kind,
      weights.loadsMlp(name),
    );
  });
  const encoder = new BertEncoder(layers);
  const virtual = new VirtualInputs(
    'encoder',
    { layers: c.layers, heads: c.heads, width: d, keyWidth: d },
    ['keys', 'words', 'embeddings'],
    () => words.weight,
    { base: prefix, attention: (layer) => `${prefix}.encoder.layer.${layer}.attention.self`, hasTokens: true },
  );
  if (!pooled) return new BertModel(embeddings, encoder, virtual);
  return new BertModel(embeddings, encoder, virtual, new BertPooler(weights.linear(`${prefix}.pooler.dense`, d, d)));
}
