import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { Rng } from './rng.js';

/** Options of batchIndices. */
export interface BatchOptions {
  /** Default false: the examples in order. */
  shuffle?: boolean | undefined;
  /** Default 0. */
  seed?: number | undefined;
  /** Default 0; each epoch has its own order. */
  epoch?: number | undefined;
}

/**
 * Splits n examples into batches; the same arguments give the same batches everywhere.
 *
 * @returns lists of example indexes, each example once; the last batch may be smaller
 * @throws DeftuneError when n or batchSize is not a whole number, or batchSize is below 1
 */
export function batchIndices(n: number, batchSize: number, options: BatchOptions = {}): number[][] {
  if (!Number.isSafeInteger(n) || n < 0)
    throw new DeftuneError(`n is ${showValue(n)}, expected a whole number of at least 0`);
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw new DeftuneError(`batchSize is ${showValue(batchSize)}, expected a whole number of at least 1`);
  }
  const { shuffle = false, seed = 0, epoch = 0 } = options;
  const order = Array.from({ length: n }, (_, i) => i);
  if (shuffle) new Rng(seed, epoch).shuffle(order);
  const batches: number[][] = [];
  for (let start = 0; start < n; start += batchSize) batches.push(order.slice(start, start + batchSize));
  return batches;
}

/** Label of a position that the loss leaves out, as in PyTorch. */
export const IGNORED_LABEL = -100;

/** One tokenized example. */
export interface Example {
  /** At least one id; empty for images. */
  inputIds: ArrayLike<number>;
  /** As many as inputIds; default all 0. */
  tokenTypeIds?: ArrayLike<number> | undefined;
  /** Class or value of the whole example. */
  label?: number | undefined;
  /** Labels by position: classes or token ids of inputIds' positions, or the target of a decoder; -100: none. */
  labelIds?: ArrayLike<number> | undefined;
  /** An image [channels, height, width], resized and normalised. */
  pixelValues?: Float32Array | undefined;
  /** Reads pixelValues when they are needed. */
  pixels?: (() => Promise<Float32Array>) | undefined;
}

/** Examples laid end to end, without padding. */
export interface RaggedBatch {
  /** [tokens] */
  inputIds: Int32Array;
  /** [tokens] */
  tokenTypeIds: Int32Array;
  /** [tokens], counting from 0 in each example. */
  positionIds: Int32Array;
  /** [size + 1]: example i has the tokens from cuSeqlens[i] up to cuSeqlens[i + 1]. */
  cuSeqlens: Int32Array;
  /** One a row of logits: class indexes (Int32Array, -100: none) or targets (Float32Array); undefined without labels. */
  labels: Int32Array | Float32Array | undefined;
  /** Tokens of the last hidden state that the head is asked about, ascending; undefined: all of them (or the pooled ones). */
  outputRows?: Int32Array | undefined;
  /** [size + 1]: where each example's rows of logits begin, where a head has a row a token. */
  cuOutputs?: Int32Array | undefined;
  /** Images [channels, height, width], one an example. */
  pixelValues?: readonly Float32Array[] | undefined;
  /** A decoder's tokens, laid out like the encoder's. */
  decoder?: { inputIds: Int32Array; positionIds: Int32Array; cuSeqlens: Int32Array } | undefined;
  /** Number of examples. */
  size: number;
  /** Number of real tokens, a decoder's included. */
  tokens: number;
}

/**
 * Lays examples end to end.
 *
 * @param options.regression whether labels are targets, not classes; default: whether any in this batch
 *   has a fraction. Give it when training, because a batch of a regression task may lack fractions.
 * @throws DeftuneError on an empty example, token types that do not match, or labels on only some
 */
export function collate(examples: readonly Example[], options: { regression?: boolean | undefined } = {}): RaggedBatch {
  const size = examples.length;
  const cuSeqlens = new Int32Array(size + 1);
  examples.forEach(({ inputIds, tokenTypeIds }, i) => {
    const length = inputIds.length;
    if (length === 0) throw new DeftuneError(`example ${i} of the batch: inputIds is empty, expected at least 1 token`);
    if (tokenTypeIds && tokenTypeIds.length !== length) {
      throw new DeftuneError(
        `example ${i} of the batch: tokenTypeIds has ${tokenTypeIds.length} elements, expected ${length} as in inputIds`,
      );
    }
    cuSeqlens[i + 1] = cuSeqlens[i]! + length;
  });
  const tokens = cuSeqlens[size]!;
  const inputIds = new Int32Array(tokens);
  const tokenTypeIds = new Int32Array(tokens);
  const positionIds = new Int32Array(tokens);
  examples.forEach((example, i) => {
    const start = cuSeqlens[i]!;
    inputIds.set(example.inputIds, start);
    if (example.tokenTypeIds) tokenTypeIds.set(example.tokenTypeIds, start);
    for (let j = 0; j < example.inputIds.length; j++) positionIds[start + j] = j;
  });
  return {
    inputIds,
    tokenTypeIds,
    positionIds,
    cuSeqlens,
    labels: collateLabels(examples, options.regression),
    size,
    tokens,
  };
}

function collateLabels(examples: readonly Example[], regression?: boolean): Int32Array | Float32Array | undefined {
  const labels = examples.flatMap(({ label }) => (label === undefined ? [] : [label]));
  if (labels.length === 0) return undefined;
  if (labels.length !== examples.length) {
    const i = examples.findIndex(({ label }) => label === undefined);
    throw new DeftuneError(`example ${i} of the batch: label is missing, expected one because other examples have it`);
  }
  return (regression ?? labels.some((label) => !Number.isInteger(label)))
    ? Float32Array.from(labels)
    : Int32Array.from(labels);
}
