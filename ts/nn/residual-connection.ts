import { dropout, dropoutAdd, type DropoutOptions } from '../ops/dropout.js';
import { add } from '../ops/elementwise.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './forward-context.js';
import { Module } from './module.js';

/** What normalises the sum, where a norm follows it. */
export interface Normalisation {
  forward(x: Tensor): Tensor;
  /** Of dropout(x) + residual; without `drop` nothing is dropped. */
  forwardSum(x: Tensor, residual: Tensor, drop?: DropoutOptions): Tensor;
}

/** What joins a sublayer's output and its residual in another way; it has parameters of its own. */
export abstract class Joint extends Module {
  /**
   * @param x the sublayer's output after its dropout [tokens, d]
   * @param residual what is added to it [tokens, d]
   * @param norm that of the sum, where there is one
   */
  abstract forward(x: Tensor, residual: Tensor, norm: Normalisation | undefined, context: ForwardContext): Tensor;
}

/** Which sublayer ends in a residual connection. */
export type Sublayer = 'attention' | 'cross-attention' | 'mlp';

/** The end of a sublayer: dropout, residual, and the norm where one follows. */
export class ResidualConnection extends Module {
  /** What is put in between. */
  joint?: Joint | undefined;

  /**
   * @param sublayer which kind it ends
   * @param adaptersName name of this place in the files of the `adapters` library, e.g. `bert.encoder.layer.0.output`
   * @param layer number of its layer in the model, an encoder's before a decoder's
   * @param width d
   * @param p dropout on the sublayer's output
   */
  constructor(
    readonly sublayer: Sublayer,
    readonly adaptersName: string,
    readonly layer: number,
    readonly width: number,
    private readonly p: number,
  ) {
    super();
  }

  /** norm(dropout(x) + residual) */
  forward(x: Tensor, residual: Tensor, context: ForwardContext, norm?: Normalisation): Tensor {
    const drop = context.dropout(this.p);
    if (this.joint) return this.joint.forward(drop ? dropout(x, drop) : x, residual, norm, context);
    if (norm) return norm.forwardSum(x, residual, drop);
    return drop ? dropoutAdd(x, residual, drop) : add(x, residual);
  }
}
