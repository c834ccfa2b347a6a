import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { validate } from '../io/validate.js';
import type { Model } from '../models/model.js';
import type { Parameter } from '../nn/parameter.js';
import { ACTIVATION_NAMES } from '../ops/activation-kind.js';
import type { AdaptersCodec } from './adapters-format.js';
import { PrefixEncoder, type PrefixConfig } from './prefix-encoder.js';
import type { SavedTensor } from './saved-tensor.js';
import { stacksOf, virtualPlace } from './virtual-places.js';

const none = 'expected none (not supported)';

const file = z.looseObject({
  prefix_length: z.int().min(1).max(65_535),
  bottleneck_size: z.int().min(1),
  flat: z.boolean(),
  non_linearity: z.string().refine((name) => ACTIVATION_NAMES.includes(name.toLowerCase()), {
    error: `expected one of ${ACTIVATION_NAMES.join(', ')}`,
  }),
  dropout: z.literal(0, { error: none }).default(0),
  leave_out: z.array(z.never()).max(0, { error: none }).default([]),
  use_gating: z.literal(false, { error: none }).default(false),
});

/** Prefix tuning in the files of `adapters`: positions count from 0, and a projection is kept. */
export const prefixInAdapters: AdaptersCodec<PrefixConfig> = {
  configFromFile(values, where, model) {
    refuseTwoStacks(model);
    const found = validate(file, values, where);
    return {
      numVirtualTokens: found.prefix_length,
      prefixProjection: !found.flat,
      ...(found.flat ? {} : { encoderHiddenSize: found.bottleneck_size }),
      nonLinearity: found.non_linearity,
      movesPositions: false,
    };
  },

  configToFile(config, model) {
    refuseTwoStacks(model);
    if (config.movesPositions) {
      throw new DeftuneError(
        "AdapterHub's prefixes leave the positions of the tokens as they are, and this one moves them (as peft's), expected movesPositions false from the beginning",
      );
    }
    return {
      bottleneck_size: config.encoderHiddenSize ?? (config.prefixProjection ? stacksOf(model)[0]?.sizes.width : 512),
      cross_prefix: true,
      dropout: 0,
      encoder_prefix: true,
      flat: !config.prefixProjection,
      init_weights_seed: null,
      leave_out: [],
      non_linearity: config.nonLinearity,
      prefix_length: config.numVirtualTokens,
      shared_gating: true,
      use_gating: false,
    };
  },

  /** Every layer has the whole prefix under a name of its own. */
  savedTensors(model) {
    const { keys, adaptersNames, sizes } = virtualPlace(model, 'keys', 'prefix');
    if (!(keys instanceof PrefixEncoder) || !adaptersNames) return new Map();
    const holders = [
      `${adaptersNames.base}.prefix_tuning`,
      ...Array.from({ length: sizes.layers }, (_, layer) => `${adaptersNames.attention(layer)}.prefix_tuning.pool`),
    ];
    const own = Object.entries(tensorsOf(keys));
    return new Map(
      holders.flatMap((holder) =>
        own.map(([name, tensor]) => [`${holder}.prefix_tunings.self_prefix.${name}`, tensor] as const),
      ),
    );
  },
};

function tensorsOf({ embedding, transform }: PrefixEncoder): Record<string, SavedTensor> {
  if (!transform) return { control_trans: new Flat(embedding.weight) };
  const [first, last] = transform;
  return {
    'wte.weight': embedding.weight,
    'control_trans.0.weight': first.weight,
    'control_trans.0.bias': first.bias as Parameter,
    'control_trans.2.weight': last.weight,
    'control_trans.2.bias': last.bias as Parameter,
  };
}

/** A table that files hold as one row. */
class Flat implements SavedTensor {
  constructor(private readonly table: Parameter) {}

  get storedShape(): readonly number[] {
    return [this.table.size];
  }

  toStored(): Float32Array {
    return this.table.toStored();
  }

  writeStored(values: Float32Array): void {
    this.table.writeStored(values);
  }
}

function refuseTwoStacks(model: Model): void {
  if (stacksOf(model).length === 1) return;
  throw new DeftuneError(
    `AdapterHub's prefixes of ${model.info.modelType} move keys against queries in its relative positions, expected peft's format`,
  );
}
