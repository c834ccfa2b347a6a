import type { Embedding } from '../nn/embedding.js';
import type { Linear } from '../nn/linear.js';
import { VirtualKeys } from '../nn/virtual-inputs.js';
import { activationKind } from '../ops/activation-kind.js';
import { splitCols } from '../ops/columns.js';
import { activation } from '../ops/elementwise.js';
import { noGrad } from '../autograd/node.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SavedTensor } from './saved-tensor.js';

/** Settings of prefix tuning, as in peft's `PrefixTuningConfig`. */
export interface PrefixConfig {
  /** Virtual keys before those of each sequence, from 1; default 20. */
  numVirtualTokens: number;
  /** Whether they are made by an MLP while training; files hold what it makes. Default false. */
  prefixProjection: boolean;
  /** Hidden width of that MLP; default: the model's width. */
  encoderHiddenSize?: number | undefined;
  /** That MLP's activation: any of {@link activationKind}; peft's is `tanh`, which is the default. */
  nonLinearity: string;
  /**
   * Whether the tokens' positions count from after the prefix, as in peft (default), or from 0, as in `adapters` and for images. Files of
   * either mean just that.
   */
  movesPositions: boolean;
  /** `zero`: keys and values start at 0; default: normal. */
  initWeights?: 'zero' | undefined;
}

/** Learned keys and values (Li & Liang 2021): a table of them, or a smaller one behind a two-layer MLP. */
export class PrefixEncoder extends VirtualKeys implements SavedTensor {
  /**
   * @param embedding [V, chunks · width], or [V, d] where there is a projection
   * @param chunks for each layer which parts of the width are its keys and its values
   * @param width of keys and values
   * @param movesPositions whether positions count from after the prefix
   * @param transform the projection: d to its hidden size, the activation, to chunks · width
   * @param kind of that activation
   */
  constructor(
    readonly embedding: Embedding,
    private readonly chunks: readonly (readonly [keys: number, values: number])[],
    private readonly width: number,
    readonly movesPositions: boolean,
    readonly transform?: readonly [Linear, Linear],
    private readonly kind?: number,
  ) {
    super();
  }

  get count(): number {
    return this.embedding.weight.rows;
  }

  forward(): (readonly [keys: Tensor, values: Tensor])[] {
    const all = this.table();
    const parts = splitCols(all, new Array<number>(all.cols / this.width).fill(this.width));
    return this.chunks.map(([keys, values]) => [parts[keys] as Tensor, parts[values] as Tensor] as const);
  }

  private table(): Tensor {
    if (!this.transform) return this.embedding.weight;
    const [first, last] = this.transform;
    return last.forward(activation(first.forward(this.embedding.weight), this.kind ?? activationKind('tanh')));
  }

  /** As files have it: behind the projection, which peft does not keep. */
  get storedShape(): readonly [number, number] {
    return [this.count, this.transform?.[1].outFeatures ?? this.embedding.weight.cols];
  }

  toStored(): Float32Array {
    return noGrad(() => scope(this.embedding.weight.backend, () => this.table().toFloats()));
  }

  /** Only without a projection, for it has no inverse. */
  writeStored(values: Float32Array): void {
    this.embedding.weight.writeStored(values);
  }
}
