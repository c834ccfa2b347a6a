import { recordOne } from '../autograd/node.js';
import { Tensor } from '../tensor/tensor.js';

/** Forms of the loss on a feature map, by their index in the core. */
export const DENSITY_KINDS = { tanh: 0, l0: 1 } as const;

/**
 * factor · Σ over maps and neurons of tanh(parameter · s) or s² / (s² + parameter) (eq. 4 and 5 of the paper).
 *
 * @param maps feature maps [1, dFf], one a layer
 * @returns [1, 1]
 */
export function densityValue(
  maps: readonly Tensor[],
  kind: keyof typeof DENSITY_KINDS,
  parameter: number,
  factor: number,
): Tensor {
  const first = maps[0] as Tensor;
  const { backend } = first;
  const index = DENSITY_KINDS[kind];
  const sum = maps.reduce((total, map) => total + backend.densityValue(map.handle, index, parameter), 0);
  const out = Tensor.fromFloats(backend, [sum * factor], [1, 1]);
  return recordOne('densityValue', backend, maps, out.handle, [1, 1], (dOut) => {
    const upstream = backend.readF32(dOut)[0] ?? 0;
    return maps.map((map) => backend.densityGradient(map.handle, index, parameter, factor * upstream));
  });
}
