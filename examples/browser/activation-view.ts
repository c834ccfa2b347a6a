import type { ActivationMap } from 'deftune';
import type { VariantName } from './variant.js';

/** Most columns of a canvas; neighbouring neurons share one where there are more. */
const MOST_COLUMNS = 512;

/** A canvas of one layer's activations: a row a token, a column a neuron (or a few); stronger is more opaque. */
export function activationFigure(name: VariantName, map: ActivationMap, layer: number): HTMLElement {
  const { width, density, values } = map.layers[layer]!;
  const share = Math.ceil(width / MOST_COLUMNS);
  const columns = Math.ceil(width / share);
  const rows = map.tokens.length;
  const canvas = document.createElement('canvas');
  canvas.width = columns;
  canvas.height = rows;
  canvas.setAttribute('role', 'img');
  const percent = (density * 100).toFixed(1);
  canvas.setAttribute(
    'aria-label',
    `Activations of ${name} in layer ${layer}: ${percent} % of ${rows} tokens times ${width} neurons are not zero`,
  );
  const context = canvas.getContext('2d')!;
  const image = context.createImageData(columns, rows);
  const color = rgb(getComputedStyle(document.documentElement).getPropertyValue(`--${name.toLowerCase()}`));
  const most = values.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-9);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let value = 0;
      for (let neuron = column * share; neuron < Math.min(width, (column + 1) * share); neuron++) {
        value = Math.max(value, Math.abs(values[row * width + neuron] ?? 0));
      }
      const opacity = value === 0 ? 0 : 0.35 + 0.65 * Math.sqrt(value / most);
      image.data.set([...color, Math.round(255 * opacity)], 4 * (row * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
  const figure = document.createElement('figure');
  const caption = document.createElement('figcaption');
  caption.textContent = `${name}, layer ${layer}: ${percent} % not zero`;
  figure.append(caption, canvas);
  return figure;
}

/** Red, green and blue of `#rrggbb`. */
function rgb(color: string): number[] {
  const digits = color.trim().slice(1);
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}
