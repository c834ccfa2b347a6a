import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { seq2seqLM } from '../heads/seq2seq-lm.js';
import type { StoredTensor } from '../io/safetensors.js';
import type { Embedding } from '../nn/embedding.js';
import { ForwardContext } from '../nn/forward-context.js';
import type { KeyValueCache } from '../nn/key-value-cache.js';
import { Module } from '../nn/module.js';
import type { Parameter } from '../nn/parameter.js';
import { scale } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import { Tensor } from '../tensor/tensor.js';
import { ConfigReader } from './config-reader.js';
import type { DecoderInput, Decoding } from './decoding.js';
import { generationTokens } from './generation-tokens.js';
import { headRows } from './head-rows.js';
import { LanguageModel, type Vocabulary } from './language-model.js';
import type { ModelFamily, ModelInfo } from './model.js';
import { readT5Config, withT5Activation } from './t5-config.js';
import { T5Decoding } from './t5-decoding.js';
import { buildT5Stack, type CrossSource, type T5Stack } from './t5-layers.js';
import { WeightReader, type TensorSource } from './weights.js';

/** The vocabulary's scores of version 1.1, which has a matrix of its own for them. */
class T5LMHead extends Module {
  constructor(readonly weight: Parameter) {
    super();
  }
}

/** T5 and its language-model head. */
class T5ForConditionalGeneration extends LanguageModel {
  readonly head = seq2seqLM;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly shared: Embedding,
    readonly encoder: T5Stack,
    readonly decoder: T5Stack,
    /** Undefined where the embeddings are the head. */
    readonly lm_head: T5LMHead | undefined,
    private readonly outputScale: number,
    private readonly startTokenId: number,
  ) {
    super();
  }

  get vocabulary(): Vocabulary {
    return { weight: (this.lm_head ?? this.shared).weight };
  }

  hiddenStates(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { decoder } = batch;
    if (!decoder) throw new DeftuneError('the batch has no decoder tokens, expected them beside inputIds');
    const { virtual } = this.encoder;
    const encoded = this.encode(batch.inputIds, batch.cuSeqlens, context);
    const source: CrossSource = {
      cuQ: Tensor.fromInts(this.backend, decoder.cuSeqlens),
      cuK: Tensor.fromInts(
        this.backend,
        batch.cuSeqlens.map((offset, sequence) => offset + virtual.count * sequence),
      ),
      encoded,
      keysAndValues: (_layer, project) => project(encoded),
    };
    const { outputRows } = batch;
    return this.decode({ ...decoder, outputRows }, source, context);
  }

  override startDecoding(prompts: readonly ArrayLike<number>[]): Decoding {
    const { backend, startTokenId } = this;
    return new T5Decoding(
      {
        backend,
        startTokenId,
        virtualTokens: this.encoder.virtual.count,
        encode: (inputIds, cuSeqlens) => this.encode(inputIds, cuSeqlens, new ForwardContext()),
        decode: (input, source, cache) =>
          linear(this.decode(input, source, new ForwardContext(), cache), this.vocabulary.weight),
      },
      prompts,
    );
  }

  private encode(inputIds: Int32Array, cuSeqlens: Int32Array, context: ForwardContext): Tensor {
    const { virtual } = this.encoder;
    const read = virtual.extend({ inputIds, positionIds: new Int32Array(inputIds.length), cuSeqlens });
    const embedded = virtual.embed(read, (ids) => this.embed(ids), context);
    return this.encoder.forward(embedded, read.cuSeqlens, context);
  }

  /** What the vocabulary is scored by, at the rows asked for. */
  private decode(
    { inputIds, cuSeqlens, outputRows }: Pick<DecoderInput, 'inputIds' | 'cuSeqlens'> & Pick<RaggedBatch, 'outputRows'>,
    source: CrossSource,
    context: ForwardContext,
    cache?: KeyValueCache,
  ): Tensor {
    const hiddenStates = this.decoder.forward(this.embed(inputIds), cuSeqlens, context, source, cache);
    const rows = headRows(hiddenStates, { outputRows });
    return this.outputScale === 1 ? rows : scale(rows, this.outputScale);
  }

  private embed(inputIds: Int32Array): Tensor {
    return this.shared.forward(Tensor.fromInts(this.backend, inputIds));
  }
}

/** Spellings of the embeddings, which are one. */
const EMBEDDINGS = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'];

/** T5's entry in the registry of models: versions 1.0 and 1.1, Flan. */
export const t5: ModelFamily = {
  modelType: 't5',
  withActivation: withT5Activation,
  heads: [{ head: seq2seqLM, architectures: ['T5ForConditionalGeneration', 'T5WithLMHeadModel'] }],
  build(backend, config, source, { architectures }, options) {
    const reader = new ConfigReader(config, `${source.name}/config.json`);
    const c = readT5Config(reader, options.dropout);
    const tokens = generationTokens(source.name, config, options.generationConfig);
    const start = reader.tokenId('decoder_start_token_id') ?? tokens.decoderStartTokenId;
    checkStart(start, c.vocabSize, source.name);
    const generationStart = tokens.decoderStartTokenId ?? start;
    checkStart(generationStart, c.vocabSize, source.name);
    const info: ModelInfo = {
      modelType: 't5',
      architecture: architectures[0],
      // Positions are relative.
      maxLength: Infinity,
      vocabSize: c.vocabSize,
      numLabels: 0,
      labelNames: [],
      decoderStartTokenId: start,
      padTokenId: reader.tokenId('pad_token_id') ?? 0,
      eosTokenIds: tokens.eosTokenIds,
      activation: c.activation,
      headModules: [],
      loraTargets: ['q', 'v'],
      ia3: { targets: ['k', 'v', 'wo'], feedforward: ['wo'] },
      linears: {
        q: /Attention\.q$/,
        k: /Attention\.k$/,
        v: /Attention\.v$/,
        // Of a gated MLP the factor that has no activation.
        intermediate: c.gated ? /\.wi_1$/ : /\.wi$/,
        output: /\.wo$/,
      },
      initializerRange: c.initializerFactor,
      config,
    };
    const embeddings = EMBEDDINGS.filter((name) => source.get(name));
    const [first = 'shared.weight'] = embeddings;
    for (const other of embeddings) checkShared(source, first, other);
    const stored = source.get('lm_head.weight');
    const untied = config['tie_word_embeddings'] === false || (stored && !isSame(stored, source.get(first)));
    const rules = {
      prefix: '',
      heads: [],
      ignored: [
        /EncDecAttention\.relative_attention_bias\.weight$/,
        /^(encoder|decoder)\.embed_tokens\.weight$/,
        ...(untied ? [] : [/^lm_head\.weight$/]),
      ],
      renames: first === 'shared.weight' ? [] : ([[new RegExp(`^${first}$`), 'shared.weight']] as const),
    };
    const weights = new WeightReader(backend, source, rules, c.initializerFactor, options);
    return weights.finish(() => {
      const shared = weights.embedding('shared', c.vocabSize, c.dModel);
      return new T5ForConditionalGeneration(
        backend,
        info,
        shared,
        buildT5Stack(weights, 'encoder', c, shared),
        buildT5Stack(weights, 'decoder', c, shared),
        untied ? new T5LMHead(weights.parameter('lm_head.weight', [c.vocabSize, c.dModel])) : undefined,
        c.scaled ? c.dModel ** -0.5 : 1,
        generationStart,
      );
    }, options.onNotice);
  },
};

function checkStart(id: number | undefined, vocabSize: number, directory: string): asserts id is number {
  if (id !== undefined && id >= 0 && id < vocabSize) return;
  throw new DeftuneError(
    `${directory}/config.json: decoder_start_token_id is ${id ?? 'missing'}, expected the first token that the decoder reads, 0 to ${vocabSize - 1}`,
  );
}

function checkShared(source: TensorSource, first: string, other: string): void {
  if (other === first || isSame(source.get(first), source.get(other))) return;
  throw new DeftuneError(
    `${source.name}: ${other} differs from ${first}, expected the same values (T5's encoder and decoder share them)`,
  );
}

function isSame(a: StoredTensor | undefined, b: StoredTensor | undefined): boolean {
  if (!a || !b || a.dtype !== b.dtype || a.data.length !== b.data.length) return false;
  return a.data.every((byte, index) => byte === b.data[index]);
}
