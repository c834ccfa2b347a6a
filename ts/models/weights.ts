import type { Backend } from '../backend/backend.js';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import type { StoredTensor } from '../io/safetensors.js';
import { showValue } from '../io/show-value.js';
import { transpose } from '../io/transpose.js';
import { Embedding } from '../nn/embedding.js';
import { LayerNorm } from '../nn/layer-norm.js';
import { Linear } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import { matrixShape, Tensor } from '../tensor/tensor.js';
import type { ModelOptions } from './model.js';

/** Names and tensors of a checkpoint, wherever its files are. */
export interface TensorSource {
  /** Directory or address, for messages. */
  readonly name: string;
  names(): string[];
  get(name: string): StoredTensor | undefined;
}

/** How a model family's checkpoint names may differ from its module paths. */
export interface NameRules {
  /** Prefix of the base model that a checkpoint may carry or lack, e.g. `bert.`. */
  prefix: string;
  /** Modules that a base checkpoint lacks and that are made anew, e.g. `classifier.`. */
  heads: readonly string[];
  /** Modules beside the base model that every checkpoint has; default none. */
  besides?: readonly string[];
  /** Tensors of other heads and buffers, which are left unread where the model does not ask for them. */
  ignored: readonly RegExp[];
  /** Other spellings of names: what to look for, and what the model calls it; applied before all else. */
  renames?: readonly (readonly [RegExp, string])[];
}

/** How a parameter is read. */
interface ReadOptions {
  /** What a new parameter holds: by default zeros for biases, else normal with the config's range, as in transformers. */
  fresh?: 'ones' | undefined;
  /** Shape to compute with, where it is not the stored one. */
  matrix?: readonly number[] | undefined;
  /** Whether to compute with the transpose of the stored matrix. */
  transposed?: boolean | undefined;
}

/**
 * Builds parameters from a checkpoint and checks it whole: what is missing, has another shape, or is unexpected is collected and
 * reported together by {@link WeightReader.finish}.
 */
export class WeightReader {
  private readonly stored: Map<string, string>;
  private readonly used = new Set<string>();
  private readonly problems: string[] = [];
  private readonly created: string[] = [];
  private readonly parameters: Parameter[] = [];
  private readonly rng: Rng;
  /** MLPs that are left out, those of them that were found, and whether one is being read. */
  private readonly skipped: ReadonlySet<string>;
  private readonly found = new Set<string>();
  private isSkipping = false;

  constructor(
    private readonly backend: Backend,
    private readonly source: TensorSource,
    private readonly rules: NameRules,
    private readonly initializerRange: number,
    { seed = 0, skipMlps = [] }: Pick<ModelOptions, 'seed' | 'skipMlps'> = {},
  ) {
    this.rng = new Rng(seed, 0x1217);
    this.skipped = new Set(skipMlps);
    this.stored = new Map(source.names().map((name) => [canonical(name, rules), name]));
  }

  linear(path: string, outFeatures: number, inFeatures: number, { bias = true } = {}): Linear {
    const weight = this.parameter(`${path}.weight`, [outFeatures, inFeatures]);
    return bias ? new Linear(weight, this.parameter(`${path}.bias`, [outFeatures])) : new Linear(weight);
  }

  /** A linear layer whose weight files hold as [in, out] (GPT-2's Conv1D). */
  conv1d(path: string, outFeatures: number, inFeatures: number): Linear {
    const weight = this.parameter(`${path}.weight`, [inFeatures, outFeatures], { transposed: true });
    return new Linear(weight, this.parameter(`${path}.bias`, [outFeatures]));
  }

  /** Reads the weights of an MLP; the matrices of one that is left out stay in the file. @param name of its layer, e.g. `encoder.layer.0` */
  ofMlp<T>(name: string, read: () => T): T {
    this.found.add(name);
    this.isSkipping = this.skipped.has(name);
    try {
      return read();
    } finally {
      this.isSkipping = false;
    }
  }

  /** Whether the weights of an MLP are read. */
  loadsMlp(name: string): boolean {
    return !this.skipped.has(name);
  }

  /** Whether the checkpoint has a tensor of this name (the model's spelling). */
  has(name: string): boolean {
    return this.stored.has(name);
  }

  layerNorm(path: string, width: number, eps: number): LayerNorm {
    const weight = this.parameter(`${path}.weight`, [width], { fresh: 'ones' });
    return new LayerNorm(weight, this.parameter(`${path}.bias`, [width]), eps);
  }

  embedding(path: string, count: number, width: number): Embedding {
    return new Embedding(this.parameter(`${path}.weight`, [count, width]));
  }

  /** @param shape the stored one */
  parameter(name: string, shape: readonly number[], options: ReadOptions = {}): Parameter {
    const parameter = this.read(name, shape, options);
    this.parameters.push(parameter);
    return parameter;
  }

  private read(name: string, shape: readonly number[], options: ReadOptions): Parameter {
    const { transposed = false, matrix = transposed ? [...shape].reverse() : shape } = options;
    const storedName = this.stored.get(name);
    const stored = storedName === undefined ? undefined : this.source.get(storedName);
    if (!stored || storedName === undefined) {
      if (!this.rules.heads.some((head) => name.startsWith(head))) this.problems.push(`${name} is missing`);
      else this.created.push(name);
      return this.problems.length > 0 ? this.placeholder() : this.initialized(name, shape, { ...options, matrix });
    }
    this.used.add(name);
    if (stored.shape.length !== shape.length || stored.shape.some((dim, axis) => dim !== shape[axis])) {
      this.problems.push(`${storedName} has shape [${stored.shape.join(', ')}], expected [${shape.join(', ')}]`);
      return this.placeholder();
    }
    if (!['F32', 'F16', 'BF16'].includes(stored.dtype)) {
      this.problems.push(`${storedName} is stored as ${stored.dtype}, expected F32, F16 or BF16`);
      return this.placeholder();
    }
    if (this.isSkipping && shape.length > 1) return this.placeholder(matrix, shape, transposed);
    const [rows, cols] = matrixShape(matrix);
    const data = transposed ? transposeBytes(stored.data, cols, rows) : stored.data;
    const handle = this.backend.uploadBytes(data, stored.dtype, rows, cols);
    return new Parameter(this.backend, handle, matrix, shape, transposed);
  }

  /**
   * Stands, in one element, for a parameter that is left out, or whose problem {@link WeightReader.finish} will report: of the shape asked for
   * it could fill the memory.
   */
  private placeholder(matrix: readonly number[] = [1], shape = matrix, isTransposed = false): Parameter {
    const { handle } = Tensor.fromFloats(this.backend, [0], [1]);
    const parameter = new Parameter(this.backend, handle, matrix, shape, isTransposed);
    parameter.isLoaded = false;
    return parameter;
  }

  private initialized(
    name: string,
    shape: readonly number[],
    { fresh, matrix = shape, transposed }: ReadOptions,
  ): Parameter {
    const values = new Float32Array(shape.reduce((product, dim) => product * dim, 1));
    if (fresh === 'ones') values.fill(1);
    else if (!name.endsWith('bias'))
      for (let i = 0; i < values.length; i++) values[i] = this.rng.nextNormal() * this.initializerRange;
    const tensor = Tensor.fromFloats(this.backend, values, matrix);
    return new Parameter(this.backend, tensor.handle, matrix, shape, transposed);
  }

  /**
   * Builds the model and checks the checkpoint; what was read is freed where it does not fit.
   *
   * @param build reads every parameter
   * @param onNotice told of the parameters that were made anew (a new head)
   * @throws DeftuneError listing everything missing, mis-shaped or unexpected.
   */
  finish<T>(build: () => T, onNotice?: (notice: string) => void): T {
    try {
      const model = build();
      this.check();
      if (this.created.length > 0) onNotice?.(`newly initialized (train before use): ${this.created.join(', ')}`);
      return model;
    } catch (error) {
      for (const parameter of this.parameters) parameter.dispose();
      throw error;
    }
  }

  private check(): void {
    const unexpected = [...this.stored.keys()].filter(
      (name) => !this.used.has(name) && !this.rules.ignored.some((rule) => rule.test(name)),
    );
    const unknown = [...this.skipped].find((name) => !this.found.has(name));
    if (unknown !== undefined) {
      throw new DeftuneError(`skipMlps has ${showValue(unknown)}, expected some of ${[...this.found].join(', ')}`);
    }
    const problems = [...this.problems, ...unexpected.map((name) => `${name} is unexpected`)];
    if (problems.length === 0) return;
    const shown = problems.slice(0, 12).join('; ');
    const more = problems.length > 12 ? `; and ${problems.length - 12} more` : '';
    throw new DeftuneError(`${this.source.name}: the checkpoint does not fit its config.json: ${shown}${more}`);
  }
}

/** The bytes of a matrix [rows, cols] of 2 or 4 bytes an element, transposed. */
function transposeBytes(data: Uint8Array, rows: number, cols: number): Uint8Array {
  // A copy, for a file's tensors start at any byte.
  const { buffer } = new Uint8Array(data);
  const isHalf = data.length === rows * cols * 2;
  const elements = isHalf ? new Uint16Array(buffer) : new Uint32Array(buffer);
  return new Uint8Array(transpose(elements, rows, cols).buffer);
}

/** A stored name as the module path: with the base prefix, and with today's spelling of layer norms. */
function canonical(name: string, { prefix, heads, besides = [], ignored, renames = [] }: NameRules): string {
  const renamed = renames.reduce((text, [from, to]) => text.replace(from, to), name);
  const modern = renamed.replace(/LayerNorm\.gamma$/, 'LayerNorm.weight').replace(/LayerNorm\.beta$/, 'LayerNorm.bias');
  const isTop = modern.startsWith(prefix) || [...heads, ...besides].some((module) => modern.startsWith(module));
  return isTop || ignored.some((rule) => rule.test(modern)) ? modern : prefix + modern;
}
