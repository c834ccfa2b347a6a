import type { Example } from '../data/batching.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Model } from '../models/model.js';
import { activationMap } from './activation-map.js';

/** The activations of one MLP for one example, small enough for a report. */
export interface ActivationSample {
  layer: string;
  /** Neurons of the layer, of which every `stride`-th is here. */
  neurons: number;
  stride: number;
  /** Rows: the text's tokens, or the numbers of an image's patches; the first of them. */
  tokens: string[];
  /** Share of exact non-zeros (0 to 1) of the whole example in this layer. */
  density: number;
  /** A string a token, a digit a neuron: 0 for an exact zero, 1 below 2^-6, then one more for each power of two, 9 from 2 on. */
  magnitudes: string[];
}

const [MOST_TOKENS, MOST_NEURONS] = [24, 256];

/** Runs a model over one example and keeps what its middle MLP did; undefined where the model has none. */
export async function sampleActivations(
  model: Model,
  example: Example,
  tokenizer?: Tokenizer,
): Promise<ActivationSample | undefined> {
  const [ready = example] = (await model.head.ready?.([example])) ?? [];
  const { layers } = activationMap(model, ready, []);
  const layer = layers[Math.floor(layers.length / 2)];
  if (!layer) return undefined;
  const { name, width, density, values } = layer;
  const rows = values.length / width;
  const stride = Math.max(1, Math.ceil(width / MOST_NEURONS));
  const ids = Array.from(ready.inputIds);
  // A decoder's rows are those of its target, a last layer's may be fewer: then they have numbers.
  const nameOf = (row: number): string =>
    (ids.length === rows && tokenizer?.idToToken(ids[row] as number)) || String(row + 1);
  const shown = Array.from({ length: Math.min(rows, MOST_TOKENS) }, (_, row) => row);
  return {
    ...{ layer: name, neurons: width, stride, density },
    tokens: shown.map(nameOf),
    magnitudes: shown.map((row) => digits(values.subarray(row * width, (row + 1) * width), stride)),
  };
}

function digits(row: Float32Array, stride: number): string {
  let text = '';
  for (let neuron = 0; neuron < row.length; neuron += stride) text += magnitude(row[neuron] as number);
  return text;
}

function magnitude(value: number): number {
  return value === 0 ? 0 : Math.min(9, Math.max(1, Math.floor(Math.log2(Math.abs(value))) + 8));
}
