import { z } from 'zod';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import type { Model } from '../models/model.js';
import { Linear } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import { ResidualConnection, type Sublayer } from '../nn/residual-connection.js';
import { ACTIVATION_NAMES, activationKind } from '../ops/activation-kind.js';
import { BottleneckAdapter, type BottleneckPlacement } from './bottleneck-adapter.js';
import { headParameters } from './head-parameters.js';
import type { PeftMethod } from './method.js';

/** Settings of bottleneck adapters, as in `BnConfig` of AdapterHub's `adapters`. */
export interface BottleneckConfig extends BottleneckPlacement {
  /** After self-attention. */
  mhAdapter: boolean;
  /** After the MLP. */
  outputAdapter: boolean;
  /** After cross-attention, where the model has it. */
  crossAdapter: boolean;
  /** Width of the model over that of the bottleneck, from 1; by layer number as text, with `default`, where it is an object. */
  reductionFactor: number | Readonly<Record<string, number>>;
  /** Any activation of {@link activationKind}. */
  nonLinearity: string;
  /** `bert` (default): normal, 0.02; `mam_adapter`: Kaiming uniform down, zero up; `houlsby`: normal, 0.01, cut at 0.02. Biases are 0. */
  initWeights: keyof typeof INITIAL;
  /** Layers without adapters. */
  leaveOut: readonly number[];
}

type Draw = (rng: Rng) => number;
const normal: Draw = (rng) => 0.02 * rng.nextNormal();
const truncated: Draw = (rng) => {
  for (;;) {
    const value = rng.nextNormal();
    if (Math.abs(value) <= 2) return 0.01 * value;
  }
};

/** How weights begin, down and up, under the names of `adapters`. @param width d */
const INITIAL = {
  bert: () => [normal, normal],
  mam_adapter: (width) => [(rng) => (rng.nextFloat() * 2 - 1) / Math.sqrt(width), () => 0],
  houlsby: () => [truncated, truncated],
} as const satisfies Record<string, (width: number) => readonly [down: Draw, up: Draw]>;
const [FIRST_INITIAL] = Object.keys(INITIAL) as [keyof typeof INITIAL];

const SEQUENTIAL = {
  mhAdapter: false,
  outputAdapter: true,
  crossAdapter: false,
  isParallel: false,
  originalLnBefore: true,
  originalLnAfter: true,
  residualBeforeLn: true,
  reductionFactor: 16,
  nonLinearity: 'relu',
  initWeights: FIRST_INITIAL,
  scaling: 1,
  dropout: 0,
  leaveOut: [],
} as const satisfies BottleneckConfig;

/** The configurations that `adapters` has by name. */
const PRESETS: Readonly<Record<string, BottleneckConfig>> = {
  // Pfeiffer et al. 2021
  seq_bn: SEQUENTIAL,
  // Houlsby et al. 2019
  double_seq_bn: { ...SEQUENTIAL, mhAdapter: true, originalLnBefore: false, nonLinearity: 'swish' },
  // He et al. 2022
  par_bn: {
    ...SEQUENTIAL,
    isParallel: true,
    originalLnBefore: false,
    reductionFactor: 2,
    scaling: 4,
    initWeights: 'mam_adapter',
  },
};

/** Names of the configurations that `adapterConfig` takes. */
export const BOTTLENECK_PRESETS: readonly string[] = Object.keys(PRESETS);

const reduction = z.number().min(1);
const fields = {
  mhAdapter: z.boolean(),
  outputAdapter: z.boolean(),
  crossAdapter: z.boolean(),
  isParallel: z.boolean(),
  originalLnBefore: z.boolean(),
  originalLnAfter: z.boolean(),
  residualBeforeLn: z.union([z.boolean(), z.literal('post_add')], { error: 'expected true, false or "post_add"' }),
  reductionFactor: z.union([reduction, z.record(z.string(), reduction)], {
    error: 'expected a number from 1, or numbers by layer',
  }),
  nonLinearity: z.string().refine((name) => ACTIVATION_NAMES.includes(name.toLowerCase()), {
    error: `expected one of ${ACTIVATION_NAMES.join(', ')}`,
  }),
  initWeights: z.enum(Object.keys(INITIAL) as [keyof typeof INITIAL]),
  scaling: z.number({ error: 'expected a number (learned scales are not supported)' }),
  dropout: z.number().min(0).lt(1),
  leaveOut: z.array(z.int().min(0)),
};

const options = z
  .strictObject(fields)
  .partial()
  .extend({
    adapterConfig: z.enum(BOTTLENECK_PRESETS as [string, ...string[]]).default('seq_bn'),
  });

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const FILE_NAMES = Object.fromEntries(Object.keys(fields).map((name) => [snake(name), name]));
const file = z.looseObject(
  Object.fromEntries(Object.entries(fields).map(([name, schema]) => [snake(name), schema.optional()])),
);

/** Fields of the file that change the mathematics and that this version does not know, with their neutral value. */
const UNSUPPORTED: Readonly<Record<string, unknown>> = {
  inv_adapter: null,
  ln_after: false,
  ln_before: false,
  phm_layer: false,
  stochastic_depth: 0,
  use_gating: false,
};

/** What `adapters` writes for the fields that are ours to leave alone. */
const REMAINING: Readonly<Record<string, unknown>> = {
  ...UNSUPPORTED,
  adapter_residual_before_ln: false,
  factorized_phm_W: true,
  factorized_phm_rule: false,
  hypercomplex_nonlinearity: 'glorot-uniform',
  init_weights_seed: null,
  inv_adapter_reduction_factor: null,
  learn_phm: true,
  phm_bias: true,
  phm_c_init: 'normal',
  phm_dim: 4,
  phm_init_range: 0.0001,
  phm_rank: 1,
  shared_W_phm: false,
  shared_phm_rule: true,
};

/** Bottleneck adapters' entry in the registry of methods; peft has none, their files are those of `adapters`. */
export const bottleneck: PeftMethod<BottleneckConfig> = {
  name: 'bottleneck',

  configure(given) {
    const { adapterConfig, ...changes } = validate(options, given, 'bottleneck');
    const changed = Object.entries(changes).filter(([, value]) => value !== undefined);
    return checked({ ...(PRESETS[adapterConfig] as BottleneckConfig), ...Object.fromEntries(changed) }, 'bottleneck');
  },

  inject(model, config, seed) {
    const rng = new Rng(seed, 0xb071);
    const places = placesOf(model, config);
    if (places.length === 0) {
      throw new DeftuneError(
        `bottleneck: no layer of the model is left, expected mhAdapter, outputAdapter or crossAdapter`,
      );
    }
    for (const [, place] of places) place.joint = adapterFor(model, place, config, rng);
    for (const parameter of headParameters(model).values()) parameter.requiresGrad = true;
  },

  savedParameters: (model, config) =>
    new Map<string, Parameter>([...parametersOf(model, config), ...headParameters(model)]),

  whyNotPeft: () => 'peft has no bottleneck adapters',

  adapters: {
    architecture: null,
    configFromFile(values, where) {
      for (const [field, neutral] of Object.entries(UNSUPPORTED)) {
        const value = values[field] ?? neutral;
        if (value === neutral) continue;
        throw new DeftuneError(
          `${where}: ${field} is ${showValue(value)}, expected ${showValue(neutral)} (not supported)`,
        );
      }
      const found = validate(file, values, where) as Record<string, unknown>;
      const given = Object.entries(FILE_NAMES).flatMap(([stored, name]) =>
        found[stored] === undefined ? [] : [[name, found[stored]] as const],
      );
      for (const required of ['mh_adapter', 'output_adapter', 'reduction_factor', 'non_linearity']) {
        if (found[required] === undefined) {
          throw new DeftuneError(`${where}: ${required} is missing, expected it in the config of a bottleneck adapter`);
        }
      }
      // Unsaid fields have the defaults of BnConfig.
      const defaults: BottleneckConfig = { ...SEQUENTIAL, originalLnBefore: false };
      return checked({ ...defaults, ...Object.fromEntries(given) } as BottleneckConfig, where);
    },
    configToFile(config) {
      const own = Object.entries(config).map(([name, value]) => [snake(name), value as unknown] as const);
      return { ...REMAINING, ...Object.fromEntries(own) };
    },
    savedTensors: parametersOf,
  },

  describe({ isParallel, mhAdapter, outputAdapter, crossAdapter, reductionFactor, nonLinearity }) {
    const places = [
      ...(mhAdapter ? ['attention'] : []),
      ...(crossAdapter ? ['cross-attention'] : []),
      ...(outputAdapter ? ['MLP'] : []),
    ];
    const factor = typeof reductionFactor === 'number' ? String(reductionFactor) : JSON.stringify(reductionFactor);
    return `${isParallel ? 'parallel' : 'bottleneck'} adapters, d / ${factor}, ${nonLinearity}, at ${places.join(', ')}`;
  },
};

/** The adapters' parameters by their names in files. */
function parametersOf(model: Model, config: BottleneckConfig): Map<string, Parameter> {
  return new Map(
    placesOf(model, config).flatMap(([, place]) =>
      [...(place.joint?.namedParameters() ?? [])].map(
        ([name, parameter]) => [`${place.adaptersName}.adapters.${name}`, parameter] as const,
      ),
    ),
  );
}

/** The residual connections that get an adapter. */
function placesOf(model: Model, config: BottleneckConfig): [path: string, place: ResidualConnection][] {
  const wanted: Readonly<Record<Sublayer, boolean>> = {
    attention: config.mhAdapter,
    'cross-attention': config.crossAdapter,
    mlp: config.outputAdapter,
  };
  return [...model.namedModules()].filter(
    (entry): entry is [string, ResidualConnection] =>
      entry[1] instanceof ResidualConnection && wanted[entry[1].sublayer] && !config.leaveOut.includes(entry[1].layer),
  );
}

function adapterFor(model: Model, place: ResidualConnection, config: BottleneckConfig, rng: Rng): BottleneckAdapter {
  const { layer, width } = place;
  const { reductionFactor: given } = config;
  const factor = typeof given === 'number' ? given : (given[String(layer)] ?? given['default']);
  if (factor === undefined) {
    throw new DeftuneError(
      `reductionFactor is ${showValue(given)}, expected a number for layer ${layer}, or a default`,
    );
  }
  const inner = Math.max(1, Math.floor(width / factor));
  const [down, up] = INITIAL[config.initWeights](width);
  const drawn = (draw: Draw): Float32Array => Float32Array.from({ length: inner * width }, () => draw(rng));
  const linear = (values: Float32Array, rows: number, cols: number): Linear => {
    const layer = new Linear(
      Parameter.of(model.backend, values, [rows, cols]),
      Parameter.of(model.backend, new Float32Array(rows), [rows]),
    );
    for (const [, parameter] of layer.namedParameters()) parameter.requiresGrad = true;
    return layer;
  };
  const kind = activationKind(config.nonLinearity.toLowerCase());
  return new BottleneckAdapter(linear(drawn(down), inner, width), linear(drawn(up), width, inner), kind, config);
}

function checked(config: BottleneckConfig, where: string): BottleneckConfig {
  if (config.mhAdapter || config.outputAdapter || config.crossAdapter) return config;
  throw new DeftuneError(`${where}: mhAdapter, outputAdapter and crossAdapter are false, expected one of them true`);
}
