import type { RaggedBatch } from '../data/batching.js';
import { prependRows } from '../ops/concat-sequences.js';
import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './forward-context.js';
import { Module } from './module.js';

/** Keys and values that stand before those of every sequence, in each layer. */
export abstract class VirtualKeys extends Module {
  /** How many. */
  abstract readonly count: number;
  /** Whether the positions of the tokens count from after them. */
  abstract readonly movesPositions: boolean;
  /** Keys and values [count, width] by layer; called once a pass. */
  abstract forward(context: ForwardContext): (readonly [keys: Tensor, values: Tensor])[];
}

/**
 * Where virtual tokens stand: before the words of a sequence, so that they have positions and types as words have; before what the
 * embedding layer makes of it; or behind the first row of that.
 */
export type TokensPlace = 'words' | 'embeddings' | 'afterFirst';

/** Embeddings that stand before those of every sequence. */
export abstract class VirtualTokens extends Module {
  /** How many. */
  abstract readonly count: number;
  abstract readonly place: TokensPlace;
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

/** What AdapterHub's `adapters` calls the places of a stack, where it has them. */
export interface AdaptersNames {
  /** The base model, e.g. `bert`. */
  base: string;
  /** A layer's self-attention. */
  attention(layer: number): string;
  /** Whether it has a place for virtual tokens. */
  hasTokens: boolean;
}

/** What may be put into a stack: keys, tokens before the words, tokens beside the embedding layer's output. */
export type VirtualKind = 'keys' | 'words' | 'embeddings';

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
   * @param takes what may be put here
   * @param words the word embeddings [vocabulary, d]; undefined: it reads images
   */
  constructor(
    readonly role: 'encoder' | 'decoder',
    readonly sizes: StackSizes,
    readonly takes: readonly VirtualKind[],
    // A function: a property would be a second name of the parameter.
    readonly words?: () => Tensor,
    readonly adaptersNames?: AdaptersNames,
  ) {
    super();
  }

  /** Virtual positions before the first token of a sequence. */
  get count(): number {
    return (this.keys?.count ?? 0) + (this.tokens?.count ?? 0);
  }

  /**
   * The batch as the stack reads it: positions count from the virtual ones, virtual tokens have rows (before words: id -1, type 0), and the
   * rows that were asked for are those of the real tokens.
   *
   * @param isFirst whether no tokens were read before; what follows others has counted the virtual ones already
   */
  extend<T extends Sequences>(batch: T, isFirst = true): T {
    const { keys, tokens } = this;
    if (!isFirst) return keys && !keys.movesPositions ? moved(batch, -keys.count) : batch;
    const shift = keys?.movesPositions ? keys.count : 0;
    const added = tokens?.count ?? 0;
    if (shift + added === 0) return batch;
    const sequences = batch.cuSeqlens.length - 1;
    const rows = realRows(batch.cuSeqlens, added, tokens?.place === 'afterFirst');
    const cuSeqlens = batch.cuSeqlens.map((offset, sequence) => offset + added * sequence);
    const outputRows = added > 0 ? (batch.outputRows?.map((token) => rows[token] as number) ?? rows) : batch.outputRows;
    if (tokens && tokens.place !== 'words') return { ...moved(batch, shift), cuSeqlens, outputRows };
    const size = batch.inputIds.length + added * sequences;
    const spread = (values: Int32Array, fill: number): Int32Array => {
      const result = new Int32Array(size).fill(fill);
      rows.forEach((row, token) => (result[row] = values[token] as number));
      return result;
    };
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
      ...(added > 0 ? { outputRows } : {}),
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
    if (tokens?.place !== 'words' || !isFirst) return embed(inputIds);
    const real = embed(inputIds.filter((id) => id !== -1));
    const before = cuSeqlens.map((offset, sequence) => offset - tokens.count * sequence);
    return prependRows(tokens.forward(context), real, Tensor.fromInts(real.backend, before));
  }

  /** What the embedding layer made of an extended batch [real tokens, d], with the virtual tokens that stand beside it. */
  join(embedded: Tensor, { cuSeqlens }: Pick<Sequences, 'cuSeqlens'>, context: ForwardContext): Tensor {
    const { tokens } = this;
    if (!tokens || tokens.place === 'words') return embedded;
    const { backend } = embedded;
    const { count } = tokens;
    const before = cuSeqlens.map((offset, sequence) => offset - count * sequence);
    // The virtual tokens once, then the real ones; each row of the result is one of these.
    const all = prependRows(tokens.forward(context), embedded, Tensor.fromInts(backend, [0, embedded.rows]));
    const sources = new Int32Array(cuSeqlens.at(-1) ?? 0).fill(-1);
    realRows(before, count, tokens.place === 'afterFirst').forEach((row, token) => (sources[row] = count + token));
    let virtual = 0;
    return gatherRows(
      all,
      Tensor.fromInts(
        backend,
        sources.map((source) => (source === -1 ? virtual++ % count : source)),
      ),
    );
  }
}

/** A batch whose positions count from another number. */
function moved<T extends Sequences>(batch: T, by: number): T {
  return by === 0 ? batch : { ...batch, positionIds: batch.positionIds.map((position) => position + by) };
}

/** Row of each token once `added` rows stand before every sequence, or behind the first of each. */
function realRows(cuSeqlens: Int32Array, added: number, isAfterFirst: boolean): Int32Array {
  const rows = new Int32Array(cuSeqlens.at(-1) ?? 0);
  for (let sequence = 0; sequence + 1 < cuSeqlens.length; sequence++) {
    const first = cuSeqlens[sequence] as number;
    for (let token = first; token < (cuSeqlens[sequence + 1] as number); token++) {
      rows[token] = token + added * (sequence + (isAfterFirst && token === first ? 0 : 1));
    }
  }
  return rows;
}
