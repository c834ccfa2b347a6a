import { z } from 'zod';
import { DeftuneError } from '../error.js';
import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import type { MlpObservation } from '../nn/forward-context.js';
import { isReluFamily } from '../ops/activation-kind.js';
import { elementLosses } from '../ops/element-loss.js';
import { add, mul, scale } from '../ops/elementwise.js';
import { validate } from '../io/validate.js';
import { alphaFactor, type AlphaScheduler } from './alpha-schedule.js';
import type { DensityForm, LossSettings } from './losses/density-form.js';
import { densityForm } from './losses/index.js';
import type { Tensor } from '../tensor/tensor.js';

/** Settings of the density loss. */
export interface DensityLossOptions {
  /**
   * `tanh` (eq. 4, for ReLU), `l0` (eq. 5), `hinge` (on pre-activations, for GELU), `hoyer` or `l1`; default by the model's activation:
   * tanh or l0.
   */
  loss?: string | undefined;
  /** `feature-map`: on the mean over tokens (the paper); `element`: on every element (the authors' code). Default: the loss's first. */
  form?: 'feature-map' | 'element' | undefined;
  /** Weight in L = L_task + alpha · L_density, from 0; default 0.05. */
  alpha?: number | undefined;
  /** How alpha comes to its full weight: `constant` (default), `linear`, or `sine` as in ProSparse. */
  alphaScheduler?: AlphaScheduler | undefined;
  /** Steps (1 or more) or share of the run (below 1) until alpha has its full weight; default 0.5. */
  alphaWarmup?: number | undefined;
  /** Factors on the layers' terms, in the model's order (encoder first); default 1 each. */
  layerWeights?: readonly number[] | undefined;
  /** Factor on the terms of an encoder-decoder's encoder; default 1. */
  encoderWeight?: number | undefined;
  /** Factor on the terms of its decoder; default 1. */
  decoderWeight?: number | undefined;
  /** Steepness of tanh(beta · s); default 20. */
  beta?: number | undefined;
  /** eps of s² / (s² + eps); default 1e-7. */
  eps?: number | undefined;
  /** hinge: pre-activations are pushed below -margin; default 6. */
  margin?: number | undefined;
  /** hinge: pre-activations above it are left to the task; default 0. */
  top?: number | undefined;
}

const schema = z.strictObject({
  loss: z.string(),
  form: z.enum(['feature-map', 'element']).optional(),
  alpha: z.number().min(0).default(0.05),
  alphaScheduler: z.enum(['constant', 'linear', 'sine']).default('constant'),
  alphaWarmup: z.number().min(0).default(0.5),
  layerWeights: z.array(z.number().min(0)).min(1).optional(),
  encoderWeight: z.number().min(0).default(1),
  decoderWeight: z.number().min(0).default(1),
  beta: z.number().positive().default(20),
  eps: z.number().positive().default(1e-7),
  margin: z.number().default(6),
  top: z.number().default(0),
});

/**
 * The density loss of DEFT (Runwal, Pedapati, Chen, eq. 3 to 5), or one of later work, for a trainer.
 *
 * Feature map: s_l = mean of layer l's MLP activations over all real tokens; L = (1/n) Σ_l Σ_i tanh(beta · s_li) or
 * s_li² / (s_li² + eps), n the neurons of all layers. Element: by layer the mean over every element, e.g. of o² / (o² + eps), then the
 * mean over layers; the encoder's mean plus the decoder's. The term of an MLP with a gate is weighed by its gate.
 *
 * @param activation the model's MLP activation, which decides the default of `loss`
 * @throws DeftuneError naming a setting out of range.
 */
export function densityLoss(options: DensityLossOptions, activation: string): AuxiliaryLoss & { description: string } {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const settings = validate(schema, { loss: defaultLoss(given, activation), ...given }, 'density');
  const { alpha, alphaScheduler, alphaWarmup } = settings;
  const loss = densityForm(settings.loss);
  const { form = loss.forms[0] } = settings;
  if (!loss.forms.includes(form)) {
    throw new DeftuneError(
      `density: form is '${form}', expected ${loss.forms.map((name) => `'${name}'`).join(' or ')} with loss '${loss.name}'`,
    );
  }
  const own: LossSettings = { ...settings, form, activation };
  loss.check?.(own);
  const element = form === 'element' ? loss.element?.(own) : undefined;
  let factor = alphaScheduler === 'constant' ? 1 : 0;
  const extras = [
    ...(loss.describe(own) === '' ? [] : [loss.describe(own)]),
    ...(alphaScheduler === 'constant' ? [] : [`${alphaScheduler} alpha`]),
    ...(settings.layerWeights ? [`layers ${settings.layerWeights.join(' ')}`] : []),
    ...(settings.encoderWeight === 1 ? [] : [`encoder ${settings.encoderWeight}`]),
    ...(settings.decoderWeight === 1 ? [] : [`decoder ${settings.decoderWeight}`]),
  ];
  return {
    name: 'densityLoss',
    settings: { ...settings, form },
    get weight() {
      return alpha * factor;
    },
    beginStep(step, totalSteps) {
      factor = alphaFactor(alphaScheduler, step, totalSteps, alphaWarmup);
    },
    description: [loss.name, form === 'element' ? 'element form' : 'feature map', `alpha ${alpha}`, ...extras].join(
      ', ',
    ),
    prepare: (context) => {
      context.element = element ?? elementLosses.none;
    },
    compute({ mlps }) {
      const weights = layerWeights(mlps, settings);
      return element ? elementLoss(mlps, weights) : featureMapLoss(mlps, weights, loss, own);
    },
  };
}

function defaultLoss(given: Record<string, unknown>, activation: string): string {
  return given['form'] === 'element' || !isReluFamily(activation) ? 'l0' : 'tanh';
}

/** The factor on each layer's term. @throws DeftuneError where their number is not that of the layers. */
function layerWeights(
  mlps: readonly MlpObservation[],
  settings: { layerWeights?: readonly number[] | undefined; encoderWeight: number; decoderWeight: number },
): number[] {
  const given = settings.layerWeights ?? mlps.map(() => 1);
  if (given.length !== mlps.length) {
    throw new DeftuneError(
      `density: layerWeights has ${given.length} values, expected one for each of the ${mlps.length} layers`,
    );
  }
  return mlps.map(
    ({ side }, index) => (given[index] ?? 1) * (side === 'encoder' ? settings.encoderWeight : settings.decoderWeight),
  );
}

function featureMapLoss(
  mlps: readonly MlpObservation[],
  weights: readonly number[],
  loss: DensityForm,
  settings: LossSettings,
): Tensor {
  const neurons = mlps.reduce((sum, { featureMap }) => sum + featureMap.cols, 0);
  const term = (weight: number, layers: readonly MlpObservation[]): Tensor => {
    const maps = layers.map(({ featureMap }) => featureMap);
    return (loss.featureMaps as NonNullable<DensityForm['featureMaps']>)(maps, settings, weight / neurons);
  };
  // One term for the layers of each weight: one for all, as a rule. A gate makes a term of its own.
  const plain = [...new Set(weights)]
    .map((weight) => [weight, mlps.filter(({ gate }, index) => !gate && weights[index] === weight)] as const)
    .filter(([, layers]) => layers.length > 0);
  const gated = mlps.flatMap((mlp, index) =>
    mlp.gate ? [mul(term(weights[index] ?? 1, [mlp]), mlp.gate.factor())] : [],
  );
  return [...plain.map(([weight, layers]) => term(weight, layers)), ...gated].reduce(add);
}

function elementLoss(mlps: readonly MlpObservation[], weights: readonly number[]): Tensor {
  const sides = (['encoder', 'decoder'] as const)
    .map((side) => mlps.flatMap((mlp, index) => (mlp.side === side ? [elementTerm(mlp, weights[index] ?? 1)] : [])))
    .filter((means) => means.length > 0)
    .map((means) => scale(means.reduce(add), 1 / means.length));
  return sides.reduce(add);
}

function elementTerm({ elementMean, gate }: MlpObservation, weight: number): Tensor {
  const term = weighted(elementMean, weight);
  return gate ? mul(term, gate.factor()) : term;
}

/** The tensor itself where the weight is 1: what the paper has keeps its bits. */
const weighted = (value: Tensor, weight: number): Tensor => (weight === 1 ? value : scale(value, weight));
