import { DeftuneError } from '../error.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { LinearLike, type Linear } from '../nn/linear.js';
import type { Module } from '../nn/module.js';
import type { Activated } from '../ops/activate.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** Values of a linear layer: weight [out, in], bias [out] where it changes. */
export interface LinearValues {
  weight: Float32Array;
  bias?: Float32Array | undefined;
}

/** A frozen linear layer with a change that can be worked into its weights. */
export abstract class AdaptedLinear extends LinearLike {
  /** What the layer held before it was merged: subtracting the change again would not give the same bits. */
  private original: LinearValues | undefined;

  constructor(readonly base_layer: Linear) {
    super();
  }

  get inFeatures(): number {
    return this.base_layer.inFeatures;
  }

  get outFeatures(): number {
    return this.base_layer.outFeatures;
  }

  /** Whether the base layer holds the change at present. */
  get isMerged(): boolean {
    return this.original !== undefined;
  }

  /** The layer with its change beside it. */
  protected abstract adapted(x: Tensor, context: ForwardContext): Tensor;

  /** The base layer's values with the change in them; called in a scope. */
  protected abstract mergedValues(): LinearValues;

  forward(x: Tensor, context: ForwardContext): Tensor {
    if (!this.isMerged) return this.adapted(x, context);
    this.refuseTraining(context);
    return this.base_layer.forward(x);
  }

  override activated(x: Tensor, kind: number, context: ForwardContext, cutoff: number): Activated {
    if (!this.isMerged) return super.activated(x, kind, context, cutoff);
    this.refuseTraining(context);
    return this.base_layer.activated(x, kind, context, cutoff);
  }

  private refuseTraining({ training }: ForwardContext): void {
    if (training) throw new DeftuneError('the adapter is merged into its model, expected unmerge() before training');
  }

  /** Works the change into the base layer; does nothing where that has been done. */
  merge(): void {
    if (this.isMerged) return;
    const { weight, bias } = this.base_layer;
    const merged = scope(weight.backend, () => this.mergedValues());
    const original: LinearValues = { weight: weight.toFloats(), bias: merged.bias && bias?.toFloats() };
    this.write(merged);
    this.original = original;
  }

  /** Gives the base layer the bits back that it had before. */
  unmerge(): void {
    if (this.original) this.write(this.original);
    this.original = undefined;
  }

  private write(values: LinearValues): void {
    const { weight, bias } = this.base_layer;
    weight.backend.writeF32(weight.handle, values.weight);
    if (values.bias && bias) bias.backend.writeF32(bias.handle, values.bias);
  }

  /** The base layer alone; frees the change's own parameters. */
  unload(): Linear {
    for (const [name, parameter] of this.namedParameters()) {
      if (!name.startsWith('base_layer.')) parameter.dispose();
    }
    return this.base_layer;
  }
}

/** Adapted layers of a model by path. */
export function adaptedLayers(model: Module): [path: string, layer: AdaptedLinear][] {
  return [...model.namedModules()].filter(
    (entry): entry is [string, AdaptedLinear] => entry[1] instanceof AdaptedLinear,
  );
}
