import { noGrad } from '../autograd/node.js';
import type { Example } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import type { HeadOutput } from '../heads/head.js';
import type { TensorToStore } from '../io/safetensors.js';
import { showValue } from '../io/show-value.js';
import type { Model } from '../models/model.js';
import { ForwardContext } from '../nn/forward-context.js';
import { freezeWeights } from '../nn/freeze-weights.js';
import { mlpBlocks } from '../nn/mlp-block.js';
import type { Parameter } from '../nn/parameter.js';
import { adaptedLayers } from './adapted-linear.js';
import { peftMethod } from './index.js';
import { InstalledAdapter } from './installed-adapter.js';
import { foldGates, gateSettings, readGates, type LayerGateSettings, type StoredGates } from './layer-gates.js';
import { valuesOf, type SavedTensor, type TensorValues } from './saved-tensor.js';
import { scope } from '../tensor/scope.js';
import { definedFields } from './target-modules.js';
import type { PeftMethod } from './method.js';
import { wholeParameters } from './whole-modules.js';

/** Settings of `getPeftModel`: the method's name, a seed for its new weights (default 0), gates on the MLPs, and the method's own settings. */
export interface PeftOptions {
  method: string;
  seed?: number | undefined;
  /** Learned gates on the MLPs, which skip the closed ones at inference; `true`: with the defaults. Default none. */
  layerGates?: true | Partial<LayerGateSettings> | undefined;
  [setting: string]: unknown;
}

/** Name of the first adapter, as in peft. */
export const DEFAULT_ADAPTER = 'default';
/** Name that stands for the base alone in a mixed batch, as in peft. */
export const BASE_ADAPTER = '__base__';

/** A base model with adapters, one of which is active at a time; the base is frozen. */
export class PeftModel {
  private readonly adapters = new Map<string, InstalledAdapter>();
  private active: string | undefined;

  private constructor(readonly base: Model) {}

  /** Freezes `base` and injects the method: the adapter called `default`. */
  static inject(
    base: Model,
    method: PeftMethod<unknown>,
    config: unknown,
    seed: number,
    gates?: LayerGateSettings,
  ): PeftModel {
    for (const [, parameter] of base.namedParameters()) parameter.requiresGrad = false;
    const model = new PeftModel(base);
    model.install(DEFAULT_ADAPTER, method, config, seed, gates);
    return model;
  }

  private install(
    name: string,
    method: PeftMethod<unknown>,
    config: unknown,
    seed: number,
    gates?: LayerGateSettings,
  ): void {
    const { base } = this;
    const virtualTokens = method.virtualTokens?.(config) ?? 0;
    if (virtualTokens > 0 && virtualTokens >= base.info.maxLength) {
      throw new DeftuneError(
        `${method.name}: numVirtualTokens is ${virtualTokens}, expected fewer than the model's ${base.info.maxLength} positions`,
      );
    }
    this.adapters.set(name, InstalledAdapter.inject(base, method, config, seed, gates));
    this.active = name;
    freezeWeights(base, base.precision);
  }

  /** The active adapter's method; that of the first where all are off. */
  get method(): PeftMethod<unknown> {
    return this.current.method;
  }

  /** The active adapter's settings. */
  get config(): unknown {
    return this.current.config;
  }

  /** The gates on the active adapter's MLPs, with theta as it is now; undefined where it has none. */
  get layerGates(): StoredGates | undefined {
    const { gates } = this.current;
    return gates && this.active !== undefined ? { ...gates, theta: readGates(this.base) } : undefined;
  }

  private get current(): InstalledAdapter {
    return this.adapters.get(this.active ?? '') ?? ([...this.adapters.values()][0] as InstalledAdapter);
  }

  /** Names of the adapters, in the order they were added. */
  get adapterNames(): string[] {
    return [...this.adapters.keys()];
  }

  /** Name of the active adapter; undefined where all are off. */
  get activeAdapter(): string | undefined {
    return this.active;
  }

  /**
   * Adds an adapter beside the others and makes it the active one.
   *
   * @param name not taken yet
   * @throws DeftuneError as {@link getPeftModel}; the model stays as it was
   */
  addAdapter(name: string, { method: methodName, seed = 0, layerGates, ...settings }: PeftOptions): void {
    const method = peftMethod(methodName);
    const gates = layerGates && gateSettings(layerGates);
    this.add(name, method, (base) => method.configure(definedFields(settings), base), seed, gates);
  }

  /** As {@link PeftModel.addAdapter}, with settings made from the base while no adapter is in it. */
  add(
    name: string,
    method: PeftMethod<unknown>,
    configure: (base: Model) => unknown,
    seed: number,
    gates?: LayerGateSettings,
  ): void {
    if (this.adapters.has(name) || name === BASE_ADAPTER || name === '') {
      throw new DeftuneError(
        `adapter ${showValue(name)} cannot be added, expected a name other than ${this.adapterNames.join(', ')}`,
      );
    }
    const whole = [method, ...[...this.adapters.values()].map((adapter) => adapter.method)].find(
      ({ weightsFile }) => weightsFile,
    );
    if (whole) throw new DeftuneError(`${whole.name} trains the whole model, expected it to be the only adapter`);
    const before = this.active;
    this.disableAdapter();
    try {
      this.install(name, method, configure(this.base), seed, gates);
    } catch (error) {
      if (before !== undefined) this.setAdapter(before);
      throw error;
    }
  }

  /** Makes another adapter the active one. @throws DeftuneError listing the adapters there are */
  setAdapter(name: string): void {
    const adapter = this.adapters.get(name);
    if (!adapter)
      throw new DeftuneError(`adapter is ${showValue(name)}, expected one of ${this.adapterNames.join(', ')}`);
    if (this.active === name) return;
    this.disableAdapter();
    adapter.activate();
    this.active = name;
  }

  /** Takes the active adapter out: what is left is the base, bit for bit. {@link PeftModel.setAdapter} puts it in again. */
  disableAdapter(): void {
    if (this.isMerged)
      throw new DeftuneError('the adapter is merged into its model, expected unmerge() before another one');
    if (this.active === undefined) return;
    if (this.current.method.weightsFile !== undefined) {
      throw new DeftuneError(
        `${this.current.method.name} trains the whole model, expected an adapter that can be taken out`,
      );
    }
    this.current.deactivate();
    this.active = undefined;
  }

  /** Removes an adapter and frees its parameters; the base is left where it was the active one. */
  deleteAdapter(name: string): void {
    const adapter = this.adapters.get(name);
    if (!adapter)
      throw new DeftuneError(`adapter is ${showValue(name)}, expected one of ${this.adapterNames.join(', ')}`);
    if (this.active === name) this.disableAdapter();
    adapter.dispose();
    this.adapters.delete(name);
  }

  /**
   * Outputs of a batch whose examples have adapters of their own (peft's `adapter_names`), without gradients. Examples of one adapter run
   * together: sequences do not see one another, so that the outcome is that of one batch.
   *
   * @param adapterNames one an example; `__base__`: none
   * @returns one output an example, in their order
   * @throws DeftuneError where a name is unknown, or there is not one for each example
   */
  outputs(examples: readonly Example[], adapterNames: readonly string[]): HeadOutput[] {
    if (adapterNames.length !== examples.length) {
      throw new DeftuneError(
        `adapterNames has ${adapterNames.length} elements, expected ${examples.length}, one an example`,
      );
    }
    const before = this.active;
    const found: HeadOutput[] = [];
    try {
      for (const name of new Set(adapterNames)) {
        if (name === BASE_ADAPTER) this.disableAdapter();
        else this.setAdapter(name);
        const { head, info, backend } = this.base;
        const indexes = [...examples.keys()].filter((index) => adapterNames[index] === name);
        const batch = head.collate(
          indexes.map((index) => examples[index] as Example),
          { info },
        );
        const outputs = noGrad(() => scope(backend, () => this.base.outputs(batch, new ForwardContext())));
        indexes.forEach((index, at) => (found[index] = outputs[at] as HeadOutput));
      }
    } finally {
      if (before === undefined) this.disableAdapter();
      else this.setAdapter(before);
    }
    return found;
  }

  /** Trainable parameters by name. */
  trainableParameters(): Map<string, Parameter> {
    return new Map([...this.base.namedParameters()].filter(([, parameter]) => parameter.requiresGrad));
  }

  /**
   * `trainable params: 74,498 || all params: 8,000,000 || trainable%: 0.9312`, as peft prints it: where that knows the method, modules that
   * are trained whole count twice, for it keeps the base's beside them.
   */
  describeTrainable(): string {
    const count = (parameters: Iterable<Parameter>): number => [...parameters].reduce((sum, { size }) => sum + size, 0);
    const trainable = count(this.trainableParameters().values());
    const { modulesToSave = [] } = this.config as { modulesToSave?: readonly string[] };
    const copies = this.method.peftType === undefined ? [] : wholeParameters(this.base, modulesToSave).values();
    const own = [...this.base.namedParameters()].flatMap(([name, parameter]) =>
      /\.taken_[AB]\./.test(name) ? [] : [parameter],
    );
    const all = count(own) + count(copies);
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
    const missing = mlpBlocks(this.base).find(({ isLoaded }) => !isLoaded);
    if (missing) {
      throw new DeftuneError(
        `the MLP of ${missing.name} was left out, expected a model opened without skipMlps to merge into`,
      );
    }
    for (const [, layer] of adaptedLayers(this.base)) layer.merge();
  }

  /** Takes the adapter out of the base's weights again. */
  unmerge(): void {
    for (const [, layer] of adaptedLayers(this.base)) layer.unmerge();
  }

  /**
   * Merges the adapter and takes its modules away; gates become factors of the down-projections. This object must not be used afterwards.
   *
   * @returns the plain model, with the parameters of a Hugging Face checkpoint
   * @throws DeftuneError where the method cannot be merged.
   */
  mergeAndUnload(): Model {
    this.merge();
    for (const [name, adapter] of this.adapters) if (name !== this.active) adapter.dispose();
    for (const [path, layer] of adaptedLayers(this.base)) this.base.replaceModule(path, layer.unload());
    foldGates(this.base);
    return this.base;
  }

  /** Tensors of the adapter by their key in adapter_model.safetensors. */
  stateDict(): Map<string, TensorToStore> {
    return new Map([...this.tensors()].map(([key, { shape, values }]) => [key, { dtype: 'F32', shape, data: values }]));
  }

  /** Values of the adapter's tensors by the same keys. */
  tensors(): Map<string, TensorValues> {
    return valuesOf(this.method.savedParameters(this.base, this.config));
  }

  /**
   * Overwrites the adapter's parameters; all or nothing.
   *
   * @param name of what is loaded, for messages
   * @param expected what a tensor of each key goes to; default: as in adapter_model.safetensors
   * @throws DeftuneError listing missing, unexpected or mis-shaped tensors.
   */
  loadStateDict(
    tensors: ReadonlyMap<string, TensorValues>,
    name: string,
    expected: ReadonlyMap<string, SavedTensor> = this.method.savedParameters(this.base, this.config),
  ): void {
    if (this.isMerged)
      throw new DeftuneError(`${name}: the model's adapter is merged, expected unmerge() before loading`);
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
export function getPeftModel(
  model: Model,
  { method: name, seed = 0, layerGates, ...settings }: PeftOptions,
): PeftModel {
  const method = peftMethod(name);
  const gates = layerGates && gateSettings(layerGates);
  return PeftModel.inject(model, method, method.configure(definedFields(settings), model), seed, gates);
}
