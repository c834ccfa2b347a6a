import type { Backend } from '../backend/backend.js';
import { offsetsOf, type KeyValueCache } from '../nn/key-value-cache.js';
import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';
import { CachedDecoding, type DecoderInput, type Decoding } from './decoding.js';
import type { CrossSource } from './t5-layers.js';

/** What the decoding needs of its model. */
export interface EncoderDecoder {
  backend: Backend;
  /** First token that the decoder reads. */
  startTokenId: number;
  /** Rows of the encoder's output before those of each prompt. */
  virtualTokens: number;
  /** The encoder's output [tokens, d]. */
  encode(inputIds: Int32Array, cuSeqlens: Int32Array): Tensor;
  /** Logits [sequences, vocabSize] of the rows asked for. */
  decode(input: DecoderInput, source: CrossSource, cache: KeyValueCache): Tensor;
}

/** Decoding behind an encoder: it reads each prompt once, and cross-attention's keys and values are made of its output once. */
export class T5Decoding implements Decoding {
  private readonly decoder: CachedDecoding;
  private readonly layers: (readonly [keys: Tensor, values: Tensor])[] = [];
  private lengths: number[];
  /** Which prompt each sequence reads. */
  private promptOf: number[];
  private encoded: Tensor | undefined;

  constructor(
    private readonly model: EncoderDecoder,
    private readonly prompts: readonly ArrayLike<number>[],
  ) {
    this.lengths = prompts.map(({ length }) => length + model.virtualTokens);
    this.promptOf = prompts.map((_, index) => index);
    const first = prompts.map(() => [model.startTokenId]);
    this.decoder = new CachedDecoding(model.backend, first, (input, cache) =>
      model.decode(input, this.source(), cache),
    );
  }

  start(): Tensor {
    const cuSeqlens = offsetsOf(this.prompts.map(({ length }) => length));
    const inputIds = new Int32Array(cuSeqlens[this.prompts.length] as number);
    this.prompts.forEach((ids, index) => {
      inputIds.set(ids, cuSeqlens[index]);
    });
    this.encoded = this.model.encode(inputIds, cuSeqlens);
    const logits = this.decoder.start();
    this.encoded = undefined;
    return logits;
  }

  step(tokens: readonly number[]): Tensor {
    return this.decoder.step(tokens);
  }

  select(origins: readonly number[]): void {
    this.decoder.select(origins);
    const wanted = origins.map((origin) => this.promptOf[origin] as number);
    const kept = [...new Set(wanted)];
    if (kept.length < this.lengths.length) this.keepPrompts(kept);
    this.promptOf = wanted.map((prompt) => kept.indexOf(prompt));
  }

  dispose(): void {
    this.decoder.dispose();
    for (const layer of this.layers) for (const tensor of layer) tensor.dispose();
    this.layers.length = 0;
  }

  /** The beams of a prompt, one token each, are the queries of one sequence; its keys need not be repeated. */
  private source(): CrossSource {
    const { backend } = this.model;
    const beams = this.lengths.map((_, prompt) => this.promptOf.filter((owner) => owner === prompt).length);
    return {
      cuQ: Tensor.fromInts(backend, offsetsOf(beams)),
      cuK: Tensor.fromInts(backend, offsetsOf(this.lengths)),
      keysAndValues: (layer, project) => this.layers[layer] ?? this.keep(layer, project(this.encoded as Tensor)),
    };
  }

  private keepPrompts(prompts: readonly number[]): void {
    const starts = offsetsOf(this.lengths);
    const rows = prompts.flatMap((prompt) =>
      Array.from({ length: this.lengths[prompt] as number }, (_, row) => (starts[prompt] as number) + row),
    );
    const ids = Tensor.fromInts(this.model.backend, rows);
    this.layers.forEach(([keys, values], layer) => {
      this.keep(layer, [gatherRows(keys, ids), gatherRows(values, ids)]);
    });
    this.lengths = prompts.map((prompt) => this.lengths[prompt] as number);
  }

  private keep(layer: number, entry: readonly [Tensor, Tensor]): readonly [Tensor, Tensor] {
    for (const tensor of entry) this.model.backend.keep(tensor.handle, 0);
    for (const tensor of this.layers[layer] ?? []) tensor.dispose();
    this.layers[layer] = entry;
    return entry;
  }
}
