import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import { Embedding } from '../nn/embedding.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { LayerNorm } from '../nn/layer-norm.js';
import type { LinearLike } from '../nn/linear.js';
import { Module } from '../nn/module.js';
import { activationKind } from '../ops/activation-kind.js';
import { attention } from '../ops/attention.js';
import { dropout, dropoutAdd } from '../ops/dropout.js';
import { activation, add } from '../ops/elementwise.js';
import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';
import { ConfigReader } from './config-reader.js';
import { SequenceClassificationModel, type ModelFamily, type ModelInfo, type ModelOptions } from './model.js';
import { WeightReader, type NameRules } from './weights.js';

// BERT (Devlin et al. 2019). Property names are the checkpoint's own.

interface BertConfig {
  vocabSize: number;
  hiddenSize: number;
  layers: number;
  heads: number;
  dFf: number;
  activation: string;
  positions: number;
  types: number;
  eps: number;
  hiddenDropout: number;
  attentionDropout: number;
  classifierDropout: number;
}

/** Token offsets of a batch, in the backend. */
interface Layout {
  cuSeqlens: Tensor;
}

class BertEmbeddings extends Module {
  constructor(
    readonly word_embeddings: Embedding,
    readonly position_embeddings: Embedding,
    readonly token_type_embeddings: Embedding,
    readonly LayerNorm: LayerNorm,
    private readonly p: number,
  ) {
    super();
  }

  /** [tokens, d] */
  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { backend } = this.word_embeddings.weight;
    const ids = (values: Int32Array): Tensor => Tensor.fromInts(backend, values);
    const words = this.word_embeddings.forward(ids(batch.inputIds));
    const positions = this.position_embeddings.forward(ids(batch.positionIds));
    const types = this.token_type_embeddings.forward(ids(batch.tokenTypeIds));
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
    private readonly heads: number,
    private readonly p: number,
  ) {
    super();
  }

  forward(x: Tensor, { cuSeqlens }: Layout, context: ForwardContext): Tensor {
    const [q, k, v] = [this.query, this.key, this.value].map((projection) => projection.forward(x, context));
    return attention(q as Tensor, k as Tensor, v as Tensor, cuSeqlens, cuSeqlens, {
      heads: this.heads,
      scale: 1 / Math.sqrt((q as Tensor).cols / this.heads),
      dropout: context.dropout(this.p),
    });
  }
}

/** dense, dropout, residual, layer norm: the end of both halves of a layer. */
class BertOutput extends Module {
  constructor(
    readonly dense: LinearLike,
    readonly LayerNorm: LayerNorm,
    private readonly p: number,
  ) {
    super();
  }

  forward(x: Tensor, residual: Tensor, context: ForwardContext): Tensor {
    const projected = this.dense.forward(x, context);
    const drop = context.dropout(this.p);
    return this.LayerNorm.forward(drop ? dropoutAdd(projected, residual, drop) : add(projected, residual));
  }
}

class BertAttention extends Module {
  constructor(
    readonly self: BertSelfAttention,
    readonly output: BertOutput,
  ) {
    super();
  }

  forward(x: Tensor, layout: Layout, context: ForwardContext): Tensor {
    return this.output.forward(this.self.forward(x, layout, context), x, context);
  }
}

class BertIntermediate extends Module {
  constructor(readonly dense: LinearLike) {
    super();
  }
}

class BertLayer extends Module {
  constructor(
    private readonly name: string,
    readonly attention: BertAttention,
    readonly intermediate: BertIntermediate,
    readonly output: BertOutput,
    private readonly kind: number,
  ) {
    super();
  }

  forward(x: Tensor, layout: Layout, context: ForwardContext): Tensor {
    const attended = this.attention.forward(x, layout, context);
    const observed = this.intermediate.dense.activated(attended, this.kind, context);
    context.mlps.push({ name: this.name, side: 'encoder', ...observed });
    return this.output.forward(observed.out, attended, context);
  }
}

class BertEncoder extends Module {
  constructor(readonly layer: readonly BertLayer[]) {
    super();
  }

  forward(x: Tensor, layout: Layout, context: ForwardContext): Tensor {
    return this.layer.reduce((hiddenStates, layer) => layer.forward(hiddenStates, layout, context), x);
  }
}

class BertPooler extends Module {
  constructor(readonly dense: LinearLike) {
    super();
  }

  /** tanh of a projection of each sequence's first token. */
  forward(hiddenStates: Tensor, cuSeqlens: Int32Array, context: ForwardContext): Tensor {
    const first = gatherRows(hiddenStates, Tensor.fromInts(hiddenStates.backend, cuSeqlens.slice(0, -1)));
    return activation(this.dense.forward(first, context), activationKind('tanh'));
  }
}

/** The encoder with its pooler. */
export class BertModel extends Module {
  constructor(
    readonly embeddings: BertEmbeddings,
    readonly encoder: BertEncoder,
    readonly pooler: BertPooler,
  ) {
    super();
  }

  /** `lastHiddenState` [tokens, d] and `poolerOutput` [sequences, d]. */
  forward(batch: RaggedBatch, context: ForwardContext): { lastHiddenState: Tensor; poolerOutput: Tensor } {
    const layout = { cuSeqlens: Tensor.fromInts(this.embeddings.word_embeddings.weight.backend, batch.cuSeqlens) };
    const lastHiddenState = this.encoder.forward(this.embeddings.forward(batch, context), layout, context);
    return { lastHiddenState, poolerOutput: this.pooler.forward(lastHiddenState, batch.cuSeqlens, context) };
  }
}

/** BERT with a linear head on the pooled output. */
export class BertForSequenceClassification extends SequenceClassificationModel {
  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly bert: BertModel,
    readonly classifier: LinearLike,
    private readonly p: number,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { poolerOutput } = this.bert.forward(batch, context);
    const drop = context.dropout(this.p);
    return this.classifier.forward(drop ? dropout(poolerOutput, drop) : poolerOutput, context);
  }
}

const names: NameRules = {
  prefix: 'bert.',
  heads: ['classifier.', 'bert.pooler.'],
  ignored: [/^cls\./, /(^|\.)embeddings\.position_ids$/],
};

function readConfig(reader: ConfigReader, p: number | undefined): BertConfig {
  reader.only('position_embedding_type', 'absolute');
  reader.only('is_decoder', false);
  reader.only('add_cross_attention', false);
  const probability = (field: string, fallback: number): number =>
    p ?? reader.number(field, { min: 0, max: 0.999, fallback });
  const hiddenDropout = probability('hidden_dropout_prob', 0.1);
  const config = {
    vocabSize: reader.integer('vocab_size'),
    hiddenSize: reader.integer('hidden_size', { max: 65_535 }),
    layers: reader.integer('num_hidden_layers', { max: 1000 }),
    heads: reader.integer('num_attention_heads', { max: 1024 }),
    dFf: reader.integer('intermediate_size', { max: 65_535 }),
    activation: reader.string('hidden_act', 'gelu'),
    positions: reader.integer('max_position_embeddings'),
    types: reader.integer('type_vocab_size', { fallback: 2 }),
    eps: reader.number('layer_norm_eps', { min: 0, max: 1, fallback: 1e-12 }),
    hiddenDropout,
    attentionDropout: probability('attention_probs_dropout_prob', 0.1),
    classifierDropout: probability('classifier_dropout', hiddenDropout),
  };
  reader.divides('num_attention_heads', config.heads, 'hidden_size', config.hiddenSize);
  return config;
}

/** BERT's entry in the registry of models. */
export const bert: ModelFamily = {
  modelType: 'bert',
  names,
  build(backend, config, source, options: ModelOptions) {
    const reader = new ConfigReader(config, `${source.name}/config.json`);
    const c = readConfig(reader, options.dropout);
    const kind = activationKind(c.activation);
    const configured = reader.labelNames();
    const numLabels = options.numLabels ?? source.get('classifier.weight')?.shape[0] ?? configured?.length ?? 2;
    const defaults = Array.from({ length: numLabels }, (_, index) => `LABEL_${index}`);
    const fitting = configured?.length === numLabels ? configured : defaults;
    const range = reader.number('initializer_range', { min: 0, max: 10, fallback: 0.02 });
    const info: ModelInfo = {
      modelType: 'bert',
      architecture: 'BertForSequenceClassification',
      maxLength: c.positions,
      vocabSize: c.vocabSize,
      numLabels,
      labelNames: options.labelNames ?? fitting,
      activation: c.activation,
      headModules: ['classifier'],
      loraTargets: ['query', 'value'],
      initializerRange: range,
      config,
    };

    const weights = new WeightReader(backend, source, names, range, options.seed ?? 0);
    const d = c.hiddenSize;
    const norm = (path: string): LayerNorm => weights.layerNorm(`${path}.LayerNorm`, d, c.eps);
    const output = (path: string, inputs: number): BertOutput =>
      new BertOutput(weights.linear(`${path}.dense`, d, inputs), norm(path), c.hiddenDropout);
    const embeddings = new BertEmbeddings(
      weights.embedding('bert.embeddings.word_embeddings', c.vocabSize, d),
      weights.embedding('bert.embeddings.position_embeddings', c.positions, d),
      weights.embedding('bert.embeddings.token_type_embeddings', c.types, d),
      norm('bert.embeddings'),
      c.hiddenDropout,
    );
    const layers = Array.from({ length: c.layers }, (_, index) => {
      const path = `bert.encoder.layer.${index}`;
      const projection = (name: string): LinearLike => weights.linear(`${path}.attention.self.${name}`, d, d);
      return new BertLayer(
        `encoder.layer.${index}`,
        new BertAttention(
          new BertSelfAttention(
            projection('query'),
            projection('key'),
            projection('value'),
            c.heads,
            c.attentionDropout,
          ),
          output(`${path}.attention.output`, d),
        ),
        new BertIntermediate(weights.linear(`${path}.intermediate.dense`, c.dFf, d)),
        output(`${path}.output`, c.dFf),
        kind,
      );
    });
    const pooler = new BertPooler(weights.linear('bert.pooler.dense', d, d));
    const classifier = weights.linear('classifier', numLabels, d);
    const model = new BertForSequenceClassification(
      backend,
      info,
      new BertModel(embeddings, new BertEncoder(layers), pooler),
      classifier,
      c.classifierDropout,
    );
    let created: string[];
    try {
      created = weights.finish();
    } catch (error) {
      model.dispose();
      throw error;
    }
    if (created.length > 0) options.onNotice?.(`newly initialized (train before use): ${created.join(', ')}`);
    return model;
  },
};
