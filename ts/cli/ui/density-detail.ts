import Table from 'cli-table3';
import type { RaggedBatch } from '../../data/batching.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import { ActivationProfile, type LayerProfile } from '../../density/activation-profile.js';
import { kernelGain, type KernelGain } from '../../density/kernel-gain.js';
import { profileMean, type ProfileMean } from '../../density/profile-mean.js';
import type { Model } from '../../models/model.js';
import type { MlpObservation } from '../../nn/forward-context.js';
import { csv, type Cell } from '../../report/csv.js';
import { formatPercent } from './format.js';

/** The config's names for the width of the hidden states. */
const WIDTHS = ['hidden_size', 'n_embd', 'd_model'];

const NO_TIME: KernelGain = { sparse: 0, dense: 0 };

/** `deftune density --detail`. */
export class DensityDetail {
  private readonly profile: ActivationProfile;
  private readonly hiddenSize: number;
  private readonly upProjections: number;
  private gain: KernelGain | undefined;

  constructor(
    { info: { config } }: Model,
    tokenizer: Tokenizer | undefined,
    private readonly thresholds: readonly number[],
  ) {
    this.profile = new ActivationProfile({ thresholds, specialTokenIds: tokenizer?.specialTokenIds });
    this.hiddenSize = Number(WIDTHS.map((name) => config[name]).find((width) => width !== undefined));
    this.upProjections = String(config['feed_forward_proj'] ?? '').startsWith('gated') ? 2 : 1;
  }

  readonly observe = (mlps: readonly MlpObservation[], batch: RaggedBatch): void => {
    this.profile.add(mlps, batch);
    // One batch is enough for a time.
    this.gain ??= mlps
      .map(({ out }) => kernelGain(out, this.hiddenSize))
      .reduce((sum, { sparse, dense }) => ({ sparse: sum.sparse + sparse, dense: sum.dense + dense }), NO_TIME);
  };

  json(): object {
    const layers = this.profile.perLayer();
    const [encoder, decoder] = sides(layers);
    return {
      // One number a neuron is too much here; --csv has them.
      layers: layers.map((layer) => ({ ...layer, neuronDensity: undefined })),
      ...(encoder && decoder ? { encoder, decoder } : {}),
      mean: profileMean(layers),
      ...this.profile.skippedWork(this.hiddenSize, this.upProjections),
      downProjections: this.gain,
    };
  }

  /** Every number as tables by file name: `layers.csv`, `positions.csv` (from 0) and `neurons.csv`, shares from 0 to 1. */
  tables(): Map<string, string> {
    const layers = this.profile.perLayer();
    const each = (values: (layer: LayerProfile) => ArrayLike<number>): Cell[][] =>
      layers.flatMap((layer) =>
        Array.from(values(layer), (density, index) => [layer.name, layer.side, index, density]),
      );
    return new Map([
      [
        'layers.csv',
        csv(
          [
            ...['layer', 'side', 'tokens', 'neurons', 'density', ...this.thresholds.map((least) => `above_${least}`)],
            ...['special_tokens', 'other_tokens', 'dead_neurons', 'always_on_neurons'],
          ],
          layers.map(({ name, side, tokens, dFf, density, thresholded, ...layer }) => [
            ...[name, side, tokens, dFf, density, ...thresholded.map((part) => part.density)],
            ...[layer.specialTokens, layer.otherTokens, layer.deadNeurons, layer.alwaysOnNeurons],
          ]),
        ),
      ],
      [
        'positions.csv',
        csv(
          ['layer', 'side', 'position', 'density'],
          each(({ byPosition }) => byPosition),
        ),
      ],
      [
        'neurons.csv',
        csv(
          ['layer', 'side', 'neuron', 'density'],
          each(({ neuronDensity }) => neuronDensity),
        ),
      ],
    ]);
  }

  describe(): string {
    const layers = this.profile.perLayer();
    const table = new Table({
      head: [
        ...['layer', 'density %', ...this.thresholds.map((threshold) => `|o| > ${threshold} %`)],
        ...['special tokens %', 'others %', 'first token %', 'dead', 'always on', 'neurons'],
      ],
      colAligns: ['left', ...this.thresholds.map(() => 'right' as const), ...Array<'right'>(7).fill('right')],
      style: { head: [], border: [] },
    });
    for (const layer of layers) table.push(row(layer.name, { ...layer, neurons: layer.dFf }));
    const [encoder, decoder] = sides(layers);
    if (encoder && decoder) table.push(row('encoder', encoder), row('decoder', decoder));
    const all = profileMean(layers);
    if (all) table.push(row('mean', all));
    const { energyRatio, mlp, skipped } = this.profile.skippedWork(this.hiddenSize, this.upProjections);
    const lines = [
      table.toString(),
      `multiply-adds of the MLPs that meet a zero: ${formatPercent(skipped / mlp, 2)} (energy of an accelerator that gates them: ${energyRatio.toFixed(3)} of one that does not)`,
    ];
    if (this.gain) {
      const { sparse, dense } = this.gain;
      lines.push(
        `down-projections of the first batch, measured: ${ms(sparse)} with zero-skip, ${ms(dense)} without (${(dense / sparse).toFixed(2)}x)`,
      );
    }
    return lines.join('\n');
  }
}

const ms = (seconds: number): string => `${(seconds * 1000).toPrecision(3)} ms`;

/** The means of the encoder's and of the decoder's layers. */
const sides = (layers: readonly LayerProfile[]): (ProfileMean | undefined)[] =>
  (['encoder', 'decoder'] as const).map((side) => profileMean(layers.filter((layer) => layer.side === side)));

function row(name: string, part: ProfileMean): string[] {
  const share = (value: number | undefined): string => (value === undefined ? '–' : formatPercent(value, 2));
  return [
    name,
    share(part.density),
    ...part.thresholded.map(({ density }) => share(density)),
    ...[part.specialTokens, part.otherTokens, part.byPosition[0]].map(share),
    ...[part.deadNeurons, part.alwaysOnNeurons, part.neurons].map(String),
  ];
}
