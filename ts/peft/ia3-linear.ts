import type { Linear } from '../nn/linear.js';
import type { Module } from '../nn/module.js';
import type { Parameter } from '../nn/parameter.js';
import { scaleCols } from '../ops/columns.js';
import type { Tensor } from '../tensor/tensor.js';
import { AdaptedLinear, type LinearValues } from './adapted-linear.js';
import type { ModuleSelection, TargetModules } from './target-modules.js';

/** Settings of IA3, as in peft's `IA3Config`. */
export interface Ia3Config extends ModuleSelection {
  /** Those of the targets whose input is scaled, not their output; default: peft's for the model family. */
  feedforwardModules: TargetModules;
  /** Whether the factors start at 1 (default), so that the model is its base at first, or are drawn from N(0, 1). */
  initIa3Weights: boolean;
  /** As that of LoRA. */
  modulesToSave?: readonly string[] | undefined;
}

/** A frozen linear layer whose output, or input, is multiplied by a learned vector (IA3, Liu et al. 2022). */
export class Ia3Linear extends AdaptedLinear {
  /** @param ia3_l stored as [1, in] where it scales the input, else [out, 1] */
  constructor(
    base: Linear,
    readonly ia3_l: Parameter,
    readonly isFeedforward: boolean,
  ) {
    super(base);
  }

  protected adapted(x: Tensor): Tensor {
    return this.isFeedforward
      ? this.base_layer.forward(scaleCols(x, this.ia3_l))
      : scaleCols(this.base_layer.forward(x), this.ia3_l);
  }

  protected mergedValues(): LinearValues {
    const { weight, bias } = this.base_layer;
    const factors = this.ia3_l.toFloats();
    const factor = (index: number): number => factors[index] as number;
    const indexOf = this.isFeedforward
      ? (at: number): number => at % weight.cols
      : (at: number): number => Math.floor(at / weight.cols);
    return {
      weight: weight.toFloats().map((value, at) => value * factor(indexOf(at))),
      bias: this.isFeedforward ? undefined : bias?.toFloats().map((value, at) => value * factor(at)),
    };
  }
}

/** The layers of a model with IA3, by path. */
export function ia3Layers(model: Module): [path: string, layer: Ia3Linear][] {
  return [...model.namedModules()].filter((entry): entry is [string, Ia3Linear] => entry[1] instanceof Ia3Linear);
}
