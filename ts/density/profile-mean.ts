import type { LayerProfile } from './activation-profile.js';

/** What several MLPs have in common: means over the layers, each counting alike, and sums of neurons. */
export interface ProfileMean extends Pick<LayerProfile, 'density' | 'thresholded' | 'specialTokens' | 'otherTokens'> {
  /** By position, over the layers that know theirs. */
  byPosition: number[];
  neurons: number;
  deadNeurons: number;
  alwaysOnNeurons: number;
}

/** The mean of some layers; undefined for none. */
export function profileMean(layers: readonly LayerProfile[]): ProfileMean | undefined {
  const [first] = layers;
  if (!first) return undefined;
  const sum = (of: (layer: LayerProfile) => number): number => layers.reduce((total, layer) => total + of(layer), 0);
  const places = Math.max(...layers.map(({ byPosition }) => byPosition.length));
  return {
    density: mean(layers.map(({ density }) => density)) as number,
    thresholded: first.thresholded.map(({ threshold }, index) => ({
      threshold,
      density: mean(layers.map(({ thresholded }) => thresholded[index]?.density)) as number,
    })),
    specialTokens: mean(layers.map(({ specialTokens }) => specialTokens)),
    otherTokens: mean(layers.map(({ otherTokens }) => otherTokens)),
    byPosition: Array.from(
      { length: places },
      (_, position) => mean(layers.map(({ byPosition }) => byPosition[position])) ?? Number.NaN,
    ),
    neurons: sum(({ dFf }) => dFf),
    deadNeurons: sum(({ deadNeurons }) => deadNeurons),
    alwaysOnNeurons: sum(({ alwaysOnNeurons }) => alwaysOnNeurons),
  };
}

/** Of what is known; undefined where nothing is. */
function mean(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((total, value) => total + value, 0) / known.length;
}
