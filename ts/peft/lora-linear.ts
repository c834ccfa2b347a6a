import type { ForwardContext } from '../nn/forward-context.js';
import { Linear } from '../nn/linear.js';
import type { Module } from '../nn/module.js';
import { Parameter } from '../nn/parameter.js';
import { doraLinear } from '../ops/dora-linear.js';
import { doraNorms } from '../ops/dora-norms.js';
import { loraLinear } from '../ops/lora-linear.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { AdaptedLinear, type LinearValues } from './adapted-linear.js';

/** The weight of one low-rank factor under peft's name (`lora_A.weight`). */
export class LowRank extends Linear {}

/** A frozen linear layer with a low-rank update beside it (Hu et al. 2021), with a magnitude where it is DoRA (Liu et al. 2024). */
export class LoraLinear extends AdaptedLinear {
  /** [out]; DoRA only. */
  readonly lora_magnitude_vector?: Parameter;

  /**
   * @param lora_A weight [r, in]
   * @param lora_B weight [out, r]
   * @param p dropout on the low-rank path
   */
  constructor(
    base: Linear,
    readonly lora_A: LowRank,
    readonly lora_B: LowRank,
    readonly scaling: number,
    private readonly p: number,
    useDora: boolean,
  ) {
    super(base);
    if (useDora) {
      const { weight } = base;
      // Those of an MLP that is left out come from a file alone.
      const values = weight.isLoaded
        ? scope(weight.backend, () => weight.backend.readF32(this.norms()))
        : new Float32Array(base.outFeatures);
      this.lora_magnitude_vector = Parameter.of(weight.backend, values, [base.outFeatures]);
      this.lora_magnitude_vector.requiresGrad = true;
    }
  }

  protected adapted(x: Tensor, context: ForwardContext): Tensor {
    const { weight, bias } = this.base_layer;
    const [a, b] = [this.lora_A.weight, this.lora_B.weight];
    const drop = context.dropout(this.p);
    return this.lora_magnitude_vector
      ? doraLinear(x, weight, bias, a, b, this.lora_magnitude_vector, this.scaling, drop)
      : loraLinear(x, weight, bias, a, b, this.scaling, drop);
  }

  /** W + scaling · B · A; DoRA: its rows times magnitude / norm. */
  protected mergedValues(): LinearValues {
    const { weight } = this.base_layer;
    const { backend, cols } = weight;
    const [a, b] = [this.lora_A.weight.handle, this.lora_B.weight.handle];
    const merged = backend.readF32(
      backend.linearBackwardInputAdd(backend.duplicate(weight.handle), b, a, this.scaling),
    );
    if (!this.lora_magnitude_vector) return { weight: merged };
    const factors = backend.readF32(backend.div(this.lora_magnitude_vector.handle, this.norms()));
    return { weight: merged.map((value, index) => value * (factors[Math.floor(index / cols)] as number)) };
  }

  private norms(): number {
    return doraNorms(this.base_layer.weight, this.lora_A.weight, this.lora_B.weight, this.scaling);
  }
}

/** The layers of a model with LoRA, by path. */
export function loraLayers(model: Module): [path: string, layer: LoraLinear][] {
  return [...model.namedModules()].filter((entry): entry is [string, LoraLinear] => entry[1] instanceof LoraLinear);
}
