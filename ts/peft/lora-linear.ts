import type { ForwardContext } from '../nn/forward-context.js';
import { Linear } from '../nn/linear.js';
import { Module } from '../nn/module.js';
import { Parameter } from '../nn/parameter.js';
import { doraLinear } from '../ops/dora-linear.js';
import { doraNorms } from '../ops/dora-norms.js';
import { linear } from '../ops/linear.js';
import { loraLinear } from '../ops/lora-linear.js';
import { add } from '../ops/elementwise.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { AdaptedLinear, type LinearValues } from './adapted-linear.js';
import type { SavedTensor } from './saved-tensor.js';

/** The weight of one low-rank factor under peft's name (`lora_A.weight`). */
export class LowRank extends Linear {}

/** A low-rank factor that was taken out of the weight: the weight keeps it, and it is subtracted. */
export class TakenOut extends Module {
  constructor(readonly weight: Parameter) {
    super();
  }
}

/** A frozen linear layer with a low-rank update beside it (Hu et al. 2021), with a magnitude where it is DoRA (Liu et al. 2024). */
export class LoraLinear extends AdaptedLinear {
  /** [out]; DoRA only. */
  readonly lora_magnitude_vector?: Parameter;

  /**
   * @param lora_A weight [r, in]
   * @param lora_B weight [out, r]
   * @param p dropout on the low-rank path
   * @param taken_A [r, in], with `taken_B` [out, r], which has the factor -scaling in it: B · A of these is added, without dropout
   */
  constructor(
    base: Linear,
    readonly lora_A: LowRank,
    readonly lora_B: LowRank,
    readonly scaling: number,
    private readonly p: number,
    useDora: boolean,
    readonly taken_A?: TakenOut,
    readonly taken_B?: TakenOut,
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
    if (this.lora_magnitude_vector) {
      return doraLinear(x, weight, bias, a, b, this.lora_magnitude_vector, this.scaling, drop);
    }
    const y = loraLinear(x, weight, bias, a, b, this.scaling, drop);
    if (!this.taken_A || !this.taken_B) return y;
    return add(y, linear(linear(x, this.taken_A.weight), this.taken_B.weight));
  }

  /** W + scaling · B · A; DoRA: its rows times magnitude / norm. */
  protected mergedValues(): LinearValues {
    const { weight } = this.base_layer;
    const { backend, cols } = weight;
    const [a, b] = [this.lora_A.weight.handle, this.lora_B.weight.handle];
    let sum = backend.linearBackwardInputAdd(backend.duplicate(weight.handle), b, a, this.scaling);
    if (this.taken_A && this.taken_B) {
      const [takenA, takenB] = [this.taken_A.weight.handle, this.taken_B.weight.handle];
      sum = backend.linearBackwardInputAdd(sum, takenB, takenA, 1);
    }
    const merged = backend.readF32(sum);
    if (!this.lora_magnitude_vector) return { weight: merged };
    const factors = backend.readF32(backend.div(this.lora_magnitude_vector.handle, this.norms()));
    return { weight: merged.map((value, index) => value * (factors[Math.floor(index / cols)] as number)) };
  }

  /** The factors as files hold them: those that were taken out behind the others, so that the weight is the base's. */
  savedFactors(): readonly [a: SavedTensor, b: SavedTensor] {
    const [a, b] = [this.lora_A.weight, this.lora_B.weight];
    if (!this.taken_A || !this.taken_B) return [a, b];
    return [
      new Beside(a, this.taken_A.weight, 'rows', 1),
      new Beside(b, this.taken_B.weight, 'columns', 1 / this.scaling),
    ];
  }

  private norms(): number {
    return doraNorms(this.base_layer.weight, this.lora_A.weight, this.lora_B.weight, this.scaling);
  }
}

/** The layers of a model with LoRA, by path. */
export function loraLayers(model: Module): [path: string, layer: LoraLinear][] {
  return [...model.namedModules()].filter((entry): entry is [string, LoraLinear] => entry[1] instanceof LoraLinear);
}

/** Two tensors of one shape as one; the file's second is the factor times ours. */
class Beside implements SavedTensor {
  constructor(
    private readonly first: Parameter,
    private readonly second: Parameter,
    private readonly along: 'rows' | 'columns',
    private readonly factor: number,
  ) {}

  get storedShape(): readonly [number, number] {
    const { rows, cols } = this.first;
    return this.along === 'rows' ? [2 * rows, cols] : [rows, 2 * cols];
  }

  /** Elements of one tensor that stand together. */
  private get run(): number {
    return this.along === 'rows' ? this.first.size : this.first.cols;
  }

  toStored(): Float32Array {
    const [first, second] = [this.first.toStored(), this.second.toStored()];
    const { run } = this;
    const result = new Float32Array(2 * first.length);
    for (let from = 0; from < first.length; from += run) {
      result.set(first.subarray(from, from + run), 2 * from);
      result.set(
        second.subarray(from, from + run).map((value) => value * this.factor),
        2 * from + run,
      );
    }
    return result;
  }

  writeStored(values: Float32Array): void {
    const { run } = this;
    const [first, second] = [new Float32Array(this.first.size), new Float32Array(this.first.size)];
    for (let from = 0; from < first.length; from += run) {
      first.set(values.subarray(2 * from, 2 * from + run), from);
      second.set(
        values.subarray(2 * from + run, 2 * (from + run)).map((value) => value * this.factor),
        from,
      );
    }
    this.first.writeStored(first);
    this.second.writeStored(second);
  }
}
