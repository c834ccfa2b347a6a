import type { RaggedBatch } from '../data/batching.js';
import { prependRows } from '../ops/concat-sequences.js';
import { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './forward-context.js';
import { Module } from './module.js';

/** Keys and values that stand before those of every sequence, in each layer. */
export abstract class VirtualKeys extends Module {
  /** How many. */
  abstract readonly count: number;
  /** Keys and values [count, width] by layer; called once a pass. */
  abstract forward(context: ForwardContext): (readonly [keys: Tensor, values: Tensor])[];
}

/** Embeddings that stand before those of every sequence. */
export abstract class VirtualTokens extends Module {
  /** How many. */
  abstract readonly count: number;
  /** [count, d]; called once a pass. */
  abstract forward(context: ForwardContext): Tensor;
}

/** Sizes of the stack that virtual inputs are made for. */
export interface StackSizes {
  layers: number;
  heads: number;
  /** d of the embeddings. */
  width: number;
  /** Width of keys and values. */
  keyWidth: number;
}

/** The part of a batch that virtual tokens change. */
type Sequences = Pick<RaggedBatch, 'inputIds' | 'positionIds' | 'cuSeqlens' | 'outputRows'> & {
  tokenTypeIds?: Int32Array;
};

/** The place in a stack of layers for what stands before its sequences. */
export class VirtualInputs extends Module {
  /** Before the keys and values of self-attention. */
  keys?: VirtualKeys | undefined;
  /** Before the embeddings. */
  tokens?: VirtualTokens | undefined;

  /**
   * @param role which stack of the model: of several, `decoder` reads what was written before
   * @param words the word embeddings [vocabulary, d]
   * @param takes what may be put here
   */
  constructor(
    readonly role: 'encoder' | 'decoder',
    readonly sizes: StackSizes,
    // A function: a property would be a second name of the parameter.
    readonly words: () => Tensor,
    readonly takes: readonly ('keys' | 'tokens')[] = ['keys', 'tokens'],
  ) {
    super();
  }

  /** Virtual positions before the first token of a sequence. */
  get count(): number {
    return (this.keys?.count ?? 0) + (this.tokens?.count ?? 0);
  }

  /**
   * The batch as the stack reads it: positions count from the virtual ones, virtual tokens have rows (id -1, type 0), and the rows that
   * were asked for are those of the real tokens.
   *
   * @param isFirst whether no tokens were read before; what follows others has counted the virtual ones already
   */
  extend<T extends Sequences>(batch: T, isFirst = true): T {
    const shift = this.keys?.count ?? 0;
    const added = this.tokens?.count ?? 0;
    if (!isFirst || shift + added === 0) return batch;
    const sequences = batch.cuSeqlens.length - 1;
    const rows = realRows(batch.cuSeqlens, added);
    const size = batch.inputIds.length + added * sequences;
    const spread = (values: Int32Array, fill: number): Int32Array => {
      const result = new Int32Array(size).fill(fill);
      rows.forEach((row, token) => (result[row] = values[token] as number));
      return result;
    };
    const cuSeqlens = batch.cuSeqlens.map((offset, sequence) => offset + added * sequence);
    const positionIds = spread(
      batch.positionIds.map((position) => position + added),
      0,
    );
    for (let sequence = 0; sequence < sequences; sequence++) {
      for (let token = 0; token < added; token++) positionIds[(cuSeqlens[sequence] as number) + token] = token;
    }
    return {
      ...batch,
      inputIds: spread(batch.inputIds, -1),
      ...(batch.tokenTypeIds ? { tokenTypeIds: spread(batch.tokenTypeIds, 0) } : {}),
      positionIds: positionIds.map((position) => position + shift),
      cuSeqlens,
      ...(added > 0 ? { outputRows: batch.outputRows?.map((token) => rows[token] as number) ?? rows } : {}),
    };
  }

  /** The virtual tokens before the embeddings of an extended batch's real ones. @param embed of ids */
  embed(
    { inputIds, cuSeqlens }: Pick<Sequences, 'inputIds' | 'cuSeqlens'>,
    embed: (inputIds: Int32Array) => Tensor,
    context: ForwardContext,
    isFirst = true,
  ): Tensor {
    const { tokens } = this;
    if (!tokens || !isFirst) return embed(inputIds);
    const real = embed(inputIds.filter((id) => id !== -1));
    const before = cuSeqlens.map((offset, sequence) => offset - tokens.count * sequence);
    return prependRows(tokens.forward(context), real, Tensor.fromInts(real.backend, before));
  }
}

/** Row of each token once `added` rows stand before every sequence. */
function realRows(cuSeqlens: Int32Array, added: number): Int32Array {
  const rows = new Int32Array(cuSeqlens.at(-1) ?? 0);
  for (let sequence = 0; sequence + 1 < cuSeqlens.length; sequence++) {
    for (let token = cuSeqlens[sequence] as number; token < (cuSeqlens[sequence + 1] as number); token++) {
      rows[token] = token + added * (sequence + 1);
    }
  }
  return rows;
}
