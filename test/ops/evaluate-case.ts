import { backward } from '../../ts/autograd/backward.js';
import type { Backend } from '../../ts/backend/backend.js';
import { scope } from '../../ts/tensor/scope.js';
import { tensorsOf, weightedSum, type GradientCase } from './gradient-check.js';

/** Every output of a case and the gradient of every input, by name. */
export function evaluateCase(backend: Backend, example: GradientCase): Map<string, Float32Array> {
  return scope(backend, () => {
    const inputs = tensorsOf(backend, example.inputs);
    for (const input of Object.values(inputs)) input.requiresGrad = true;
    const outputs = example.run(backend, inputs);
    const found = backward(weightedSum(backend, outputs));
    return new Map([
      ...outputs.map((output, index): [string, Float32Array] => [`output ${index}`, output.toFloats()]),
      ...Object.entries(inputs).map(([name, input]): [string, Float32Array] => [
        `gradient of ${name}`,
        found.has(input) ? backend.readF32(found.get(input) as number) : new Float32Array(0),
      ]),
    ]);
  });
}
