import { z } from 'zod';
import { validate } from '../io/validate.js';
import type { ActivationThresholds } from '../nn/activation-thresholds.js';
import { ForwardContext, type MlpObservation } from '../nn/forward-context.js';
import { activate } from '../ops/activate.js';
import { activationKind } from '../ops/activation-kind.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** What a threshold does to one MLP, measured. */
export interface ThresholdEffect {
  /** Outputs of at most this magnitude are zeros; 0: none but the activation's own. */
  threshold: number;
  /** ‖W o_t − W o‖ / ‖W o + b‖ over all tokens: W and b of the down-projection, o_t the activations with the threshold. */
  error: number;
  /** Share of non-zeros, 0 to 1. */
  density: number;
}

/** One MLP and the thresholds that were tried on it, ascending. */
export interface LayerEffects {
  name: string;
  side: MlpObservation['side'];
  effects: ThresholdEffect[];
}

/** What thresholds are chosen for: one of both. */
export interface ThresholdGoal {
  /** Largest relative error of each MLP's output, 0 to 1. */
  maxError?: number | undefined;
  /** Mean density of the MLPs, 0 to 1, reached with the smallest error that they can all have in common. */
  targetDensity?: number | undefined;
}

/** What was chosen for one MLP. */
export interface ChosenThreshold extends ThresholdEffect {
  name: string;
  side: MlpObservation['side'];
  /** Density without the threshold. */
  densityBefore: number;
}

interface Sums {
  side: MlpObservation['side'];
  /** Ascending, the first 0. */
  thresholds: readonly number[];
  squaredErrors: number[];
  nonzeros: number[];
  elements: number;
  squaredOutput: number;
}

const goalSchema = z
  .strictObject({ maxError: z.number().min(0).max(1).optional(), targetDensity: z.number().min(0).max(1).optional() })
  .refine(({ maxError, targetDensity }) => (maxError === undefined) !== (targetDensity === undefined), {
    error: 'expected either maxError or targetDensity',
  });

/**
 * Finds thresholds for the activations of a model's MLPs: give it each batch with the observations of its forward pass, as `predict`'s
 * `observe` does. Every MLP is measured with the input that it has without thresholds in the others.
 *
 * The thresholds that are tried are quantiles of the magnitudes of the first batch.
 */
export class ThresholdCalibration {
  private readonly layers = new Map<string, Sums>();

  /** @param levels number of thresholds that are tried on each MLP: they differ by 1 / levels of its non-zeros */
  constructor(private readonly levels = 64) {}

  /** Adds one forward pass; its tensors must still be there. */
  readonly add = (mlps: readonly MlpObservation[]): void => {
    for (const mlp of mlps) {
      scope(mlp.out.backend, () => {
        this.addMlp(mlp);
      });
    }
  };

  private addMlp({ name, side, out, down }: MlpObservation): void {
    const { backend } = out;
    const dense = new Tensor(backend, backend.toDense(out.handle), out.shape);
    const context = new ForwardContext();
    const output = down.forward(out, context);
    let sums = this.layers.get(name);
    if (!sums) {
      const thresholds = [0, ...quantiles(dense.toFloats(), this.levels)];
      const none = thresholds.map(() => 0);
      sums = { side, thresholds, squaredErrors: none, nonzeros: [...none], elements: 0, squaredOutput: 0 };
      this.layers.set(name, sums);
    }
    sums.elements += out.size;
    sums.squaredOutput += backend.sumSquares(output.handle);
    const { squaredErrors, nonzeros } = sums;
    for (const [index, cutoff] of sums.thresholds.entries()) {
      scope(backend, () => {
        const cut = activate(dense, activationKind('identity'), { cutoff }).out;
        const difference = down.forward(cut, context);
        backend.addInPlace(difference.handle, output.handle, -1);
        squaredErrors[index] = (squaredErrors[index] as number) + backend.sumSquares(difference.handle);
        nonzeros[index] = (nonzeros[index] as number) + backend.nonzeros(cut.handle);
      });
    }
  }

  /** What each threshold that was tried does, by MLP, in the model's order. */
  perLayer(): LayerEffects[] {
    return [...this.layers].map(([name, { side, thresholds, squaredErrors, nonzeros, elements, squaredOutput }]) => ({
      name,
      side,
      effects: thresholds.map((threshold, index) => ({
        threshold,
        // Without a threshold there is none, whatever the order of the sums was.
        error: index === 0 ? 0 : Math.sqrt((squaredErrors[index] as number) / squaredOutput),
        density: (nonzeros[index] as number) / elements,
      })),
    }));
  }

  /**
   * The largest threshold of each MLP that keeps to the goal.
   *
   * @throws DeftuneError naming a goal out of range
   */
  choose(goal: ThresholdGoal): ChosenThreshold[] {
    const given = Object.fromEntries(Object.entries(goal).filter(([, value]) => value !== undefined));
    const { maxError, targetDensity } = validate(goalSchema, given, 'calibration');
    const layers = this.perLayer();
    return chosenFor(layers, maxError ?? smallestError(layers, targetDensity as number));
  }
}

/** The thresholds of what was chosen, by MLP. @param own those that the model had meanwhile: none gets lower */
export function thresholdsOf(chosen: readonly ChosenThreshold[], own: ActivationThresholds = {}): ActivationThresholds {
  return Object.fromEntries(chosen.map(({ name, threshold }) => [name, Math.max(threshold, own[name] ?? 0)]));
}

function chosenFor(layers: readonly LayerEffects[], maxError: number): ChosenThreshold[] {
  return layers.map(({ name, side, effects }) => {
    const [none] = effects as [ThresholdEffect];
    const chosen = effects.filter(({ error }) => error <= maxError).at(-1) ?? none;
    return { name, side, ...chosen, densityBefore: none.density };
  });
}

/** The smallest error that brings the mean density down to a target; the largest there is where none does. */
function smallestError(layers: readonly LayerEffects[], density: number): number {
  const errors = [...new Set(layers.flatMap(({ effects }) => effects.map(({ error }) => error)))].sort((a, b) => a - b);
  const isEnough = (error: number): boolean => {
    const chosen = chosenFor(layers, error);
    return chosen.reduce((sum, layer) => sum + layer.density, 0) / chosen.length <= density;
  };
  let [low, high] = [0, errors.length - 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (isEnough(errors[middle] as number)) high = middle;
    else low = middle + 1;
  }
  return errors[low] ?? 0;
}

/** Magnitudes of the non-zeros at 1/levels, 2/levels, ... of their number, without repetitions. */
function quantiles(values: Float32Array, levels: number): number[] {
  const magnitudes = values
    .filter((value) => value !== 0)
    .map(Math.abs)
    .sort();
  const { length } = magnitudes;
  const found = Array.from(
    { length: levels - 1 },
    (_, index) => magnitudes[Math.floor(((index + 1) * length) / levels)],
  );
  return [...new Set(found.filter((value): value is number => value !== undefined))];
}
