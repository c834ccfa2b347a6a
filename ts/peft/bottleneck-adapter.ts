import type { ForwardContext } from '../nn/forward-context.js';
import type { Linear } from '../nn/linear.js';
import { Joint, type Normalisation } from '../nn/residual-connection.js';
import { dropout } from '../ops/dropout.js';
import { activation, add, scale } from '../ops/elementwise.js';
import type { Tensor } from '../tensor/tensor.js';

/** Where an adapter stands; fields as in `BnConfig` of `adapters`. */
export interface BottleneckPlacement {
  /** Whether it reads the sublayer's input, beside the sublayer, and not its output. */
  isParallel: boolean;
  /** Whether residual and norm come before it. */
  originalLnBefore: boolean;
  /** Whether residual and norm come after it. */
  originalLnAfter: boolean;
  /** Whether its own residual is taken before the norm before it (`post_add`: between the sum and the norm), or after. */
  residualBeforeLn: boolean | 'post_add';
  /** Factor on its output. */
  scaling: number;
  /** Dropout on its output, 0 to less than 1. */
  dropout: number;
}

/** A bottleneck between a sublayer and its residual: up(f(down(x))) · scaling + x (Houlsby et al. 2019, Pfeiffer et al. 2021). */
export class BottleneckAdapter extends Joint {
  /** In a list, as in the checkpoints of `adapters`: down-projection, then the activation. */
  readonly adapter_down: readonly Linear[];

  /**
   * @param down weight [bottleneck, d]
   * @param adapter_up weight [d, bottleneck]
   * @param kind of its activation
   */
  constructor(
    down: Linear,
    readonly adapter_up: Linear,
    private readonly kind: number,
    private readonly placement: BottleneckPlacement,
  ) {
    super();
    this.adapter_down = [down];
  }

  forward(x: Tensor, residual: Tensor, norm: Normalisation | undefined, context: ForwardContext): Tensor {
    const { isParallel, originalLnBefore, originalLnAfter, residualBeforeLn } = this.placement;
    const normalised = (sum: Tensor): Tensor => (norm ? norm.forward(sum) : sum);
    let out: Tensor;
    if (isParallel) {
      out = add(this.bottleneck(residual, context), x);
    } else if (originalLnBefore) {
      const sum = add(x, residual);
      const input = normalised(sum);
      const kept = residualBeforeLn === true ? x : residualBeforeLn === 'post_add' && norm ? sum : input;
      // Without a norm, `post_add` keeps no residual of its own in `adapters` and fails there.
      out = add(this.bottleneck(input, context), kept);
    } else {
      out = add(this.bottleneck(x, context), x);
    }
    return originalLnAfter ? normalised(add(out, residual)) : out;
  }

  private bottleneck(x: Tensor, context: ForwardContext): Tensor {
    const [down] = this.adapter_down as [Linear];
    const up = this.adapter_up.forward(activation(down.forward(x), this.kind));
    const scaled = this.placement.scaling === 1 ? up : scale(up, this.placement.scaling);
    const drop = context.dropout(this.placement.dropout);
    return drop ? dropout(scaled, drop) : scaled;
  }
}
