import { DeftuneError } from '../error.js';
import type { TensorToStore } from '../io/safetensors.js';
import type { Model } from '../models/model.js';
import { freezeWeights } from '../nn/freeze-weights.js';
import type { Parameter } from '../nn/parameter.js';
import { adaptedLayers } from './adapted-linear.js';
import { peftMethod } from './index.js';
import type { TensorValues } from './saved-tensor.js';
import type { PeftMethod } from './method.js';

/** Settings of `getPeftModel`: the method's name, a seed for its new weights (default 0), and the method's own settings. */
export interface PeftOptions {
  method: string;
  seed?: number | undefined;
  [setting: string]: unknown;
}

/** A base model with a PEFT method in it; the base is frozen. */
export class PeftModel {
  private constructor(
    readonly base: Model,
    readonly method: PeftMethod<unknown>,
    readonly config: unknown,
  ) {}

  /** Freezes `base` and injects the method. */
  static inject(base: Model, method: PeftMethod<unknown>, config: unknown, seed: number): PeftModel {
    const virtualTokens = method.virtualTokens?.(config) ?? 0;
    if (virtualTokens > 0 && virtualTokens >= base.info.maxLength) {
      throw new DeftuneError(
        `${method.name}: numVirtualTokens is ${virtualTokens}, expected fewer than the model's ${base.info.maxLength} positions`,
      );
    }
    for (const [, parameter] of base.namedParameters()) parameter.requiresGrad = false;
    method.inject(base, config, seed);
    base.info.maxLength -= virtualTokens;
    freezeWeights(base, base.precision);
    return new PeftModel(base, method, config);
  }

  /** Trainable parameters by name. */
  trainableParameters(): Map<string, Parameter> {
    return new Map([...this.base.namedParameters()].filter(([, parameter]) => parameter.requiresGrad));
  }

  /** `trainable params: 74,498 || all params: 8,000,000 || trainable%: 0.9312`, as peft prints it. */
  describeTrainable(): string {
    const count = (parameters: Iterable<Parameter>): number => [...parameters].reduce((sum, { size }) => sum + size, 0);
    const trainable = count(this.trainableParameters().values());
    const all = count([...this.base.namedParameters()].map(([, parameter]) => parameter));
    const format = (value: number): string => value.toLocaleString('en-US');
    return `trainable params: ${format(trainable)} || all params: ${format(all)} || trainable%: ${((100 * trainable) / all).toFixed(4)}`;
  }

  /** Prints {@link PeftModel.describeTrainable}. */
  printTrainableParameters(): void {
    console.log(this.describeTrainable());
  }

  /** Whether the adapter is worked into the base's weights at present. */
  get isMerged(): boolean {
    return adaptedLayers(this.base).some(([, layer]) => layer.isMerged);
  }

  /**
   * Works the adapter into the base's weights, so that it costs nothing; {@link PeftModel.unmerge} undoes it to the last bit.
   * @throws DeftuneError where the method cannot be merged.
   */
  merge(): void {
    if (!this.method.isMergeable) {
      throw new DeftuneError(`${this.method.name} cannot be merged: it is not a change of the base's weights`);
    }
    for (const [, layer] of adaptedLayers(this.base)) layer.merge();
  }

  /** Takes the adapter out of the base's weights again. */
  unmerge(): void {
    for (const [, layer] of adaptedLayers(this.base)) layer.unmerge();
  }

  /**
   * Merges the adapter and takes its modules away. This object must not be used afterwards.
   *
   * @returns the plain model, with the parameters of a Hugging Face checkpoint
   * @throws DeftuneError where the method cannot be merged.
   */
  mergeAndUnload(): Model {
    this.merge();
    for (const [path, layer] of adaptedLayers(this.base)) this.base.replaceModule(path, layer.unload());
    return this.base;
  }

  /** Tensors of the adapter by their key in adapter_model.safetensors. */
  stateDict(): Map<string, TensorToStore> {
    return new Map([...this.tensors()].map(([key, { shape, values }]) => [key, { dtype: 'F32', shape, data: values }]));
  }

  /** Values of the adapter's tensors by the same keys. */
  tensors(): Map<string, TensorValues> {
    const saved = this.method.savedParameters(this.base, this.config);
    return new Map(
      [...saved].map(([key, tensor]) => [key, { shape: [...tensor.storedShape], values: tensor.toStored() }]),
    );
  }

  /**
   * Overwrites the adapter's parameters; all or nothing.
   * @throws DeftuneError listing missing, unexpected or mis-shaped tensors.
   */
  loadStateDict(tensors: ReadonlyMap<string, TensorValues>, name: string): void {
    if (this.isMerged)
      throw new DeftuneError(`${name}: the model's adapter is merged, expected unmerge() before loading`);
    const expected = this.method.savedParameters(this.base, this.config);
    const problems: string[] = [];
    for (const [key, parameter] of expected) {
      const found = tensors.get(key);
      if (!found) problems.push(`${key} is missing`);
      else if (found.shape.join() !== parameter.storedShape.join()) {
        problems.push(`${key} has shape [${found.shape.join(', ')}], expected [${parameter.storedShape.join(', ')}]`);
      }
    }
    for (const key of tensors.keys())
      if (!expected.has(key) && !isCopy(key, expected)) problems.push(`${key} is unexpected`);
    if (problems.length > 0) {
      const more = problems.length > 8 ? `; and ${problems.length - 8} more` : '';
      throw new DeftuneError(`${name}: the adapter does not fit the model: ${problems.slice(0, 8).join('; ')}${more}`);
    }
    for (const [key, parameter] of expected) {
      const found = tensors.get(key) as TensorValues;
      parameter.writeStored(found.values);
    }
  }
}

/** With `bias: all` peft also stores the head's biases under the names that its own modules give to the head and to its copy. */
function isCopy(key: string, expected: ReadonlyMap<string, unknown>): boolean {
  const plain = key.replace(/\.(original_module|modules_to_save)\.bias$/, '.bias');
  return plain !== key && expected.has(plain);
}

/**
 * Puts a PEFT method into a model, as peft's `get_peft_model`.
 *
 * @example getPeftModel(model, { method: 'lora', r: 8, loraAlpha: 16, targetModules: ['query', 'value'] })
 * @throws DeftuneError naming an unknown method or a setting out of range.
 */
export function getPeftModel(model: Model, { method: name, seed = 0, ...settings }: PeftOptions): PeftModel {
  const method = peftMethod(name);
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  return PeftModel.inject(model, method, method.configure(given, model), seed);
}
