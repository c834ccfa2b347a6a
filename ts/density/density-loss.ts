import { z } from 'zod';
import { DeftuneError } from '../error.js';
import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import type { MlpObservation } from '../nn/forward-context.js';
import { isReluFamily } from '../ops/activation-kind.js';
import { densityValue } from '../ops/density-value.js';
import { add, scale } from '../ops/elementwise.js';
import { validate } from '../io/validate.js';
import type { Tensor } from '../tensor/tensor.js';

/** Settings of the density loss. */
export interface DensityLossOptions {
  /** `tanh` (eq. 4, for ReLU) or `l0` (eq. 5, for GELU and others); default by the model's activation. */
  loss?: 'tanh' | 'l0' | undefined;
  /** `feature-map`: on the mean over tokens (the paper); `element`: on every element (the authors' code). Default feature-map. */
  form?: 'feature-map' | 'element' | undefined;
  /** Weight in L = L_task + alpha · L_density, from 0; default 0.05. */
  alpha?: number | undefined;
  /** Steepness of tanh(beta · s); default 20. */
  beta?: number | undefined;
  /** eps of s² / (s² + eps); default 1e-7. */
  eps?: number | undefined;
}

const schema = z.strictObject({
  loss: z.enum(['tanh', 'l0']).optional(),
  form: z.enum(['feature-map', 'element']).default('feature-map'),
  alpha: z.number().min(0).default(0.05),
  beta: z.number().positive().default(20),
  eps: z.number().positive().default(1e-7),
});

/**
 * The density loss of DEFT (Runwal, Pedapati, Chen, eq. 3 to 5) for a trainer.
 *
 * Feature map: s_l = mean of layer l's MLP activations over all real tokens; L = (1/n) Σ_l Σ_i tanh(beta · s_li) or
 * s_li² / (s_li² + eps), n the neurons of all layers. Element: by layer the mean of o² / (o² + eps) over every element, then the mean
 * over layers; the encoder's mean plus the decoder's.
 *
 * @param activation the model's MLP activation, which decides the default of `loss`
 * @throws DeftuneError naming a setting out of range.
 */
export function densityLoss(options: DensityLossOptions, activation: string): AuxiliaryLoss & { description: string } {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const { loss = defaultLoss(given, activation), form, alpha, beta, eps } = validate(schema, given, 'density');
  if (form === 'element' && loss === 'tanh') {
    throw new DeftuneError(
      "density: form is 'element', expected loss 'l0' with it (the element form is defined for l0 only)",
    );
  }
  const parameter = loss === 'tanh' ? beta : eps;
  const settings = loss === 'tanh' ? `beta ${beta}` : `eps ${eps}`;
  return {
    name: 'densityLoss',
    weight: alpha,
    description: `${loss}, ${form === 'element' ? 'element form' : 'feature map'}, alpha ${alpha}, ${settings}`,
    prepare: (context) => {
      context.elementEps = form === 'element' ? eps : 0;
    },
    compute: ({ mlps }) => (form === 'element' ? elementLoss(mlps) : featureMapLoss(mlps, loss, parameter)),
  };
}

function defaultLoss(given: Record<string, unknown>, activation: string): 'tanh' | 'l0' {
  return given['form'] === 'element' || !isReluFamily(activation) ? 'l0' : 'tanh';
}

function featureMapLoss(mlps: readonly MlpObservation[], loss: 'tanh' | 'l0', parameter: number): Tensor {
  const maps = mlps.map(({ featureMap }) => featureMap);
  const neurons = maps.reduce((sum, map) => sum + map.cols, 0);
  return densityValue(maps, loss, parameter, 1 / neurons);
}

function elementLoss(mlps: readonly MlpObservation[]): Tensor {
  const sides = (['encoder', 'decoder'] as const)
    .map((side) => mlps.filter((mlp) => mlp.side === side).map(({ elementMean }) => elementMean))
    .filter((means) => means.length > 0)
    .map((means) => scale(means.reduce(add), 1 / means.length));
  return sides.reduce(add);
}
