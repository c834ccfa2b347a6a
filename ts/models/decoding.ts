import type { Backend } from '../backend/backend.js';
import { KeyValueCache, offsetsOf } from '../nn/key-value-cache.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * A batch of prompts being continued, token by token; what was computed for earlier tokens is kept. Every method but `dispose` runs
 * in a scope, without gradients.
 */
export interface Decoding {
  /** Reads the prompts, once: logits of the token after each [sequences, vocabSize]. */
  start(): Tensor;
  /** Reads one token of each sequence: logits of the next [sequences, vocabSize]. */
  step(tokens: readonly number[]): Tensor;
  /**
   * From here on sequence i continues what sequence `origins[i]` was. Origins ascend by prompt: the beams of a prompt stay together,
   * those left out are finished.
   */
  select(origins: readonly number[]): void;
  /** Frees what is kept. */
  dispose(): void;
}

/** Tokens of one decoding pass, laid end to end. */
export interface DecoderInput {
  /** [tokens] */
  inputIds: Int32Array;
  /** [tokens], counting on from the tokens read before. */
  positionIds: Int32Array;
  /** [sequences + 1] */
  cuSeqlens: Int32Array;
  /** [sequences]: the last token of each, whose logits are wanted. */
  outputRows: Int32Array;
}

/** Decoding with a cache of keys and values, for any model that reads its earlier tokens through one. */
export class CachedDecoding implements Decoding {
  private readonly cache: KeyValueCache;

  /**
   * @param prompts the first tokens that the decoder reads, at least one each
   * @param read logits [sequences, vocabSize] of the rows asked for
   */
  constructor(
    backend: Backend,
    private readonly prompts: readonly ArrayLike<number>[],
    private readonly read: (input: DecoderInput, cache: KeyValueCache) => Tensor,
  ) {
    this.cache = new KeyValueCache(backend, prompts.length);
  }

  start(): Tensor {
    return this.pass(this.prompts);
  }

  step(tokens: readonly number[]): Tensor {
    return this.pass(tokens.map((token) => [token]));
  }

  select(origins: readonly number[]): void {
    this.cache.select(origins);
  }

  dispose(): void {
    this.cache.dispose();
  }

  private pass(tokens: readonly ArrayLike<number>[]): Tensor {
    const cuSeqlens = offsetsOf(tokens.map(({ length }) => length));
    const inputIds = new Int32Array(cuSeqlens[tokens.length] as number);
    const positionIds = new Int32Array(inputIds.length);
    tokens.forEach((ids, index) => {
      const start = cuSeqlens[index] as number;
      inputIds.set(ids, start);
      for (let row = 0; row < ids.length; row++) positionIds[start + row] = (this.cache.tokens[index] as number) + row;
    });
    const outputRows = cuSeqlens.slice(1).map((end) => end - 1);
    return this.read({ inputIds, positionIds, cuSeqlens, outputRows }, this.cache);
  }
}
