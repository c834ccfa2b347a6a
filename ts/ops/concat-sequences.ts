import { recordOne } from '../autograd/node.js';
import { Tensor } from '../tensor/tensor.js';

/**
 * For each sequence its rows of `a` and then its rows of `b`: new keys behind cached ones.
 *
 * @param a [rows of a, d]
 * @param b [rows of b, d]
 * @param cuA offsets of the sequences in a; a sequence may be empty there
 * @param cuB offsets in b, where no sequence is empty
 * @returns [rows of a + rows of b, d]; its offsets are the sums of the two
 */
export function concatSequences(a: Tensor, b: Tensor, cuA: Tensor, cuB: Tensor): Tensor {
  return concat('concatSequences', a, b, cuA, cuB, a.rows + b.rows);
}

/**
 * The same rows before every sequence: virtual tokens before keys and values (prefix tuning) or embeddings (prompt tuning), the class
 * token before the patches of each image. Their gradient is added up over the sequences.
 *
 * @param prefix [P, d]
 * @param x [tokens, d]
 * @param cuSeqlens offsets of the sequences in x, sequences + 1 of them
 * @returns [tokens + P · sequences, d]; offset n of it is cuSeqlens[n] + n · P
 */
export function prependRows(prefix: Tensor, x: Tensor, cuSeqlens: Tensor): Tensor {
  return concat('prependRows', prefix, x, undefined, cuSeqlens, x.rows + prefix.rows * (cuSeqlens.size - 1));
}

function concat(name: string, a: Tensor, b: Tensor, cuA: Tensor | undefined, cuB: Tensor, rows: number): Tensor {
  const { backend } = b;
  const offsets = [cuA?.handle ?? 0, cuB.handle] as const;
  const out = backend.concatSequences(a.handle, b.handle, ...offsets);
  return recordOne(name, backend, [a, b], out, [rows, b.cols], (dOut) =>
    Array.from(backend.concatSequencesBackward(dOut, a.rows, ...offsets, a.requiresGrad, b.requiresGrad)),
  );
}
