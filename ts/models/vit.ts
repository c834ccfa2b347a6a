import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { imageClassification } from '../heads/image-classification.js';
import { AttentionLayout } from '../nn/attention-layout.js';
import type { ForwardContext } from '../nn/forward-context.js';
import type { LayerNorm } from '../nn/layer-norm.js';
import type { LinearLike } from '../nn/linear.js';
import { MlpBlock } from '../nn/mlp-block.js';
import { Module } from '../nn/module.js';
import { ResidualConnection, type Sublayer } from '../nn/residual-connection.js';
import { Parameter } from '../nn/parameter.js';
import { runLayers } from '../nn/run-layers.js';
import { VirtualInputs } from '../nn/virtual-inputs.js';
import { wantedRows } from '../nn/wanted-rows.js';
import { activationKind } from '../ops/activation-kind.js';
import { attention } from '../ops/attention.js';
import { prependRows } from '../ops/concat-sequences.js';
import { dropout } from '../ops/dropout.js';
import { add } from '../ops/elementwise.js';
import { gatherRows } from '../ops/gather-rows.js';
import { linear } from '../ops/linear.js';
import { Tensor } from '../tensor/tensor.js';
import { ConfigReader } from './config-reader.js';
import { labelSettings } from './label-settings.js';
import { Model, type ModelFamily, type ModelInfo } from './model.js';
import { WeightReader, type NameRules } from './weights.js';

// ViT (Dosovitskiy et al. 2021). Property names are those of transformers 5; checkpoints of version 4 are renamed on the way in.

interface ViTConfig {
  hiddenSize: number;
  layers: number;
  heads: number;
  dFf: number;
  activation: string;
  imageSize: readonly [height: number, width: number];
  patchSize: readonly [height: number, width: number];
  channels: number;
  eps: number;
  hiddenDropout: number;
  attentionDropout: number;
  qkvBias: boolean;
  initializerRange: number;
}

/** The convolution that cuts an image into patches: a linear layer on their pixels. Stored [d, channels, height, width]. */
class ViTPatchEmbeddings extends Module {
  constructor(readonly projection: PatchProjection) {
    super();
  }
}

class PatchProjection extends Module {
  constructor(
    readonly weight: Parameter,
    readonly bias: Parameter,
  ) {
    super();
  }
}

class ViTEmbeddings extends Module {
  constructor(
    readonly cls_token: Parameter,
    readonly position_embeddings: Parameter,
    readonly patch_embeddings: ViTPatchEmbeddings,
    private readonly config: ViTConfig,
  ) {
    super();
  }

  /** [images · (1 + patches), d] */
  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { weight, bias } = this.patch_embeddings.projection;
    const { backend } = weight;
    const pixels = patchesOf(batch.pixelValues ?? [], this.config);
    const embedded = linear(
      Tensor.fromFloats(backend, pixels, [pixels.length / weight.cols, weight.cols]),
      weight,
      bias,
    );
    const perImage = embedded.rows / batch.size;
    const cuPatches = Int32Array.from({ length: batch.size + 1 }, (_, index) => index * perImage);
    const withClass = prependRows(this.cls_token, embedded, Tensor.fromInts(backend, cuPatches));
    const positions = gatherRows(this.position_embeddings, Tensor.fromInts(backend, batch.positionIds));
    const drop = context.dropout(this.config.hiddenDropout);
    const sum = add(withClass, positions);
    return drop ? dropout(sum, drop) : sum;
  }
}

class ViTAttention extends Module {
  constructor(
    readonly q_proj: LinearLike,
    readonly k_proj: LinearLike,
    readonly v_proj: LinearLike,
    readonly o_proj: LinearLike,
    private readonly layer: number,
    private readonly heads: number,
    private readonly p: number,
  ) {
    super();
  }

  /** @param rows those of `x` that attend to it, one of each sequence; default all */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor {
    const queries = this.q_proj.forward(wantedRows(x, rows), context);
    const own = [this.k_proj.forward(x, context), this.v_proj.forward(x, context)] as const;
    const cuQ = rows ? layout.cuOne() : layout.cuQ;
    const attended = attention(queries, ...layout.keysAndValues(this.layer, ...own), cuQ, layout.cuK, {
      heads: this.heads,
      scale: 1 / Math.sqrt(queries.cols / this.heads),
      dropout: context.dropout(this.p),
    });
    return this.o_proj.forward(attended, context);
  }
}

class ViTMLP extends Module {
  readonly block: MlpBlock;

  /** @param isLoaded whether the weights are there */
  constructor(
    readonly fc1: LinearLike,
    readonly fc2: LinearLike,
    name: string,
    kind: number,
    isLoaded: boolean,
  ) {
    super();
    this.block = new MlpBlock(name, 'encoder', isLoaded, {
      activated: (x, context, cutoff) => this.fc1.activated(x, kind, context, cutoff),
      down: () => this.fc2,
    });
  }
}

/** Norms before attention and MLP, residuals around both. */
class ViTLayer extends Module {
  constructor(
    readonly attention: ViTAttention,
    readonly layernorm_before: LayerNorm,
    readonly layernorm_after: LayerNorm,
    readonly mlp: ViTMLP,
    readonly attentionResidual: ResidualConnection,
    readonly mlpResidual: ResidualConnection,
  ) {
    super();
  }

  /** @param rows those of `x` that are wanted, one of each sequence; default all */
  forward(x: Tensor, layout: AttentionLayout, context: ForwardContext, rows?: Tensor): Tensor {
    const attended = this.attention.forward(this.layernorm_before.forward(x), layout, context, rows);
    const middle = this.attentionResidual.forward(attended, wantedRows(x, rows), context);
    const projected = this.mlp.block.forward(this.layernorm_after.forward(middle), context);
    return this.mlpResidual.forward(projected, middle, context);
  }
}

class ViTModel extends Module {
  constructor(
    readonly embeddings: ViTEmbeddings,
    readonly layers: readonly ViTLayer[],
    readonly layernorm: LayerNorm,
    readonly virtual: VirtualInputs,
  ) {
    super();
  }

  /** Each image's first hidden state, its class token's [images, d]: the norm is by token, so that only theirs is computed. */
  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { backend } = this.embeddings.cls_token;
    const read = this.virtual.extend(batch);
    const layout = new AttentionLayout(backend, read.cuSeqlens, { virtual: this.virtual.keys?.forward(context) });
    const embedded = this.virtual.join(this.embeddings.forward(batch, context), read, context);
    const first = Tensor.fromInts(backend, read.cuSeqlens.slice(0, -1));
    return this.layernorm.forward(runLayers(this.layers, embedded, layout, context, first));
  }
}

/** ViT with a linear head on the class token. */
class ViTForImageClassification extends Model {
  readonly head = imageClassification;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly vit: ViTModel,
    readonly classifier: LinearLike,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    return this.classifier.forward(this.vit.forward(batch, context), context);
  }
}

/** Pixels by patch: [images · patches, channels · height · width], patches row by row, as the convolution's weight is laid out. */
function patchesOf(images: readonly Float32Array[], { imageSize, patchSize, channels }: ViTConfig): Float32Array {
  const [height, width] = imageSize;
  const [ph, pw] = patchSize;
  const out = new Float32Array(images.length * channels * height * width);
  let at = 0;
  images.forEach((image, index) => {
    if (image.length !== channels * height * width) {
      throw new DeftuneError(
        `image ${index} of the batch has ${image.length} values, expected ${channels * height * width}: [${channels}, ${height}, ${width}] as in config.json`,
      );
    }
    for (let top = 0; top < height; top += ph) {
      for (let left = 0; left < width; left += pw) {
        for (let row = 0; row < channels * ph; row++) {
          const start = (Math.floor(row / ph) * height + top + (row % ph)) * width + left;
          out.set(image.subarray(start, start + pw), at);
          at += pw;
        }
      }
    }
  });
  return out;
}

const RULES = {
  prefix: 'vit.',
  heads: ['classifier.'],
  ignored: [/^vit\.pooler\./, /^vit\.embeddings\.mask_token$/, /^decoder\./],
  renames: [
    [/encoder\.layer\.(\d+)\./, 'layers.$1.'],
    [/attention\.attention\.(query|key|value)\./, 'attention.$1.'],
    [/attention\.query\./, 'attention.q_proj.'],
    [/attention\.key\./, 'attention.k_proj.'],
    [/attention\.value\./, 'attention.v_proj.'],
    [/attention\.output\.dense\./, 'attention.o_proj.'],
    [/intermediate\.dense\./, 'mlp.fc1.'],
    [/(layers\.\d+)\.output\.dense\./, '$1.mlp.fc2.'],
  ],
} as const satisfies NameRules;

/** The other way: what transformers 4 calls a module. */
const FORMER: readonly (readonly [RegExp, string])[] = [
  [/\.attention\.q_proj(?=\.|$)/, '.attention.attention.query'],
  [/\.attention\.k_proj(?=\.|$)/, '.attention.attention.key'],
  [/\.attention\.v_proj(?=\.|$)/, '.attention.attention.value'],
  [/\.attention\.o_proj(?=\.|$)/, '.attention.output.dense'],
  [/\.mlp\.fc1(?=\.|$)/, '.intermediate.dense'],
  [/\.mlp\.fc2(?=\.|$)/, '.output.dense'],
  [/(^|\.)layers\.(\d+)/, '$1encoder.layer.$2'],
];

function formerPath(path: string): string {
  return FORMER.reduce((found, [pattern, name]) => found.replace(pattern, name), path);
}

function readConfig(reader: ConfigReader, dropoutOverride: number | undefined): ViTConfig {
  const probability = (field: string): number =>
    dropoutOverride ?? reader.number(field, { min: 0, max: 0.999, fallback: 0 });
  const config: ViTConfig = {
    hiddenSize: reader.integer('hidden_size', { max: 65_535, fallback: 768 }),
    layers: reader.integer('num_hidden_layers', { max: 1000, fallback: 12 }),
    heads: reader.integer('num_attention_heads', { max: 1024, fallback: 12 }),
    dFf: reader.integer('intermediate_size', { max: 65_535, fallback: 3072 }),
    activation: reader.activation('hidden_act', 'gelu'),
    imageSize: reader.pair('image_size', { max: 4096, fallback: 224 }),
    patchSize: reader.pair('patch_size', { max: 4096, fallback: 16 }),
    channels: reader.integer('num_channels', { max: 64, fallback: 3 }),
    eps: reader.number('layer_norm_eps', { min: 0, max: 1, fallback: 1e-12 }),
    hiddenDropout: probability('hidden_dropout_prob'),
    attentionDropout: probability('attention_probs_dropout_prob'),
    qkvBias: reader.boolean('qkv_bias', true),
    initializerRange: reader.number('initializer_range', { min: 0, max: 10, fallback: 0.02 }),
  };
  reader.divides('num_attention_heads', config.heads, 'hidden_size', config.hiddenSize);
  config.imageSize.forEach((size, axis) => {
    reader.divides('patch_size', config.patchSize[axis] as number, 'image_size', size);
  });
  return config;
}

/** ViT's entry in the registry of models. */
export const vit: ModelFamily = {
  modelType: 'vit',
  withActivation: (config, name) => ({ ...config, hidden_act: name }),
  heads: [
    {
      head: imageClassification,
      architectures: ['ViTForImageClassification'],
      labelTensor: 'classifier.weight',
    },
  ],
  build(backend, config, source, { head, architectures }, options) {
    const reader = new ConfigReader(config, `${source.name}/config.json`);
    const c = readConfig(reader, options.dropout);
    const patches = (c.imageSize[0] / c.patchSize[0]) * (c.imageSize[1] / c.patchSize[1]);
    const info: ModelInfo = {
      modelType: 'vit',
      architecture: architectures[0],
      maxLength: patches + 1,
      vocabSize: 0,
      tokensPerImage: patches + 1,
      ...labelSettings(head, reader, source.get('classifier.weight')?.shape[0], options),
      activation: c.activation,
      headModules: ['classifier'],
      loraTargets: ['q_proj', 'v_proj'],
      linears: {
        q: /\.attention\.q_proj$/,
        k: /\.attention\.k_proj$/,
        v: /\.attention\.v_proj$/,
        intermediate: /\.mlp\.fc1$/,
        output: /\.mlp\.fc2$/,
      },
      formerPath,
      presentPath: (path) => RULES.renames.reduce((found, [pattern, name]) => found.replace(pattern, name), path),
      initializerRange: c.initializerRange,
      config,
    };
    const weights = new WeightReader(backend, source, RULES, c.initializerRange, options);
    return weights.finish(() => {
      const d = c.hiddenSize;
      const kind = activationKind(c.activation);
      const layer = (index: number): ViTLayer => {
        const path = `vit.layers.${index}`;
        const name = `layers.${index}`;
        const end = (sublayer: Sublayer, adaptersName: string): ResidualConnection =>
          new ResidualConnection(sublayer, adaptersName, index, d, c.hiddenDropout);
        const projection = (role: string): LinearLike =>
          weights.linear(`${path}.attention.${role}`, d, d, { bias: c.qkvBias });
        return new ViTLayer(
          new ViTAttention(
            projection('q_proj'),
            projection('k_proj'),
            projection('v_proj'),
            weights.linear(`${path}.attention.o_proj`, d, d),
            index,
            c.heads,
            c.attentionDropout,
          ),
          weights.layerNorm(`${path}.layernorm_before`, d, c.eps),
          weights.layerNorm(`${path}.layernorm_after`, d, c.eps),
          weights.ofMlp(
            name,
            () =>
              new ViTMLP(
                weights.linear(`${path}.mlp.fc1`, c.dFf, d),
                weights.linear(`${path}.mlp.fc2`, d, c.dFf),
                name,
                kind,
                weights.loadsMlp(name),
              ),
          ),
          // As transformers 4 calls the layers.
          end('attention', `vit.encoder.layer.${index}.attention_adapters`),
          end('mlp', `vit.encoder.layer.${index}.output.output_adapters`),
        );
      };
      const projection = new PatchProjection(
        weights.parameter('vit.embeddings.patch_embeddings.projection.weight', [d, c.channels, ...c.patchSize], {
          matrix: [d, c.channels * c.patchSize[0] * c.patchSize[1]],
        }),
        weights.parameter('vit.embeddings.patch_embeddings.projection.bias', [d]),
      );
      const embeddings = new ViTEmbeddings(
        weights.parameter('vit.embeddings.cls_token', [1, 1, d]),
        weights.parameter('vit.embeddings.position_embeddings', [1, patches + 1, d]),
        new ViTPatchEmbeddings(projection),
        c,
      );
      const body = new ViTModel(
        embeddings,
        Array.from({ length: c.layers }, (_, index) => layer(index)),
        weights.layerNorm('vit.layernorm', d, c.eps),
        new VirtualInputs(
          'encoder',
          { layers: c.layers, heads: c.heads, width: d, keyWidth: d },
          ['keys', 'embeddings'],
          undefined,
          { base: 'vit', attention: (layer) => `vit.encoder.layer.${layer}.attention.attention`, hasTokens: true },
        ),
      );
      const classifier = weights.linear('classifier', info.numLabels, d);
      return new ViTForImageClassification(backend, info, body, classifier);
    }, options.onNotice);
  },
};
