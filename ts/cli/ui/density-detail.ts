import Table from 'cli-table3';
import type { RaggedBatch } from '../../data/batching.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import { ActivationProfile, type LayerProfile } from '../../density/activation-profile.js';
import { kernelGain, type KernelGain } from '../../density/kernel-gain.js';
import type { Model } from '../../models/model.js';
import type { MlpObservation } from '../../nn/forward-context.js';
import { formatPercent } from './format.js';

/** The config's names for the width of the hidden states. */
const WIDTHS = ['hidden_size', 'n_embd', 'd_model'];

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
    // The first MLP of the first batch: a sample is enough for a time.
    const first = mlps[0];
    if (first) this.gain ??= kernelGain(first.out, this.hiddenSize);
  };

  json(): object {
    // One number a neuron is left out of the output.
    const layers = this.profile.perLayer().map((layer) => ({ ...layer, neuronDensity: undefined }));
    return { layers, ...this.profile.skippedWork(this.hiddenSize, this.upProjections), downProjection: this.gain };
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
    for (const layer of layers) table.push(row(layer));
    const { energyRatio, mlp, skipped } = this.profile.skippedWork(this.hiddenSize, this.upProjections);
    const lines = [
      table.toString(),
      `multiply-adds of the MLPs that meet a zero: ${formatPercent(skipped / mlp, 2)} (energy of an accelerator that gates them: ${energyRatio.toFixed(3)} of one that does not)`,
    ];
    if (this.gain) {
      const { sparse, dense } = this.gain;
      lines.push(
        `down-projection of ${layers[0]?.name}, measured: ${ms(sparse)} with zero-skip, ${ms(dense)} without (${(dense / sparse).toFixed(2)}x)`,
      );
    }
    return lines.join('\n');
  }
}

const ms = (seconds: number): string => `${(seconds * 1000).toPrecision(3)} ms`;

function row(layer: LayerProfile): string[] {
  const share = (value: number | undefined): string => (value === undefined ? '–' : formatPercent(value, 2));
  return [
    layer.name,
    share(layer.density),
    ...layer.thresholded.map(({ density }) => share(density)),
    ...[layer.specialTokens, layer.otherTokens, layer.byPosition[0]].map(share),
    ...[layer.deadNeurons, layer.alwaysOnNeurons, layer.dFf].map(String),
  ];
}
