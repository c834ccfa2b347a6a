import type { StoredTensor, TensorToStore } from '../io/safetensors.js';
import type { TrainingState } from './checkpoint.js';

/** The tensors of a training state under the names that checkpoints store them by. */
export function stateTensors({
  parameters,
  optimizer,
}: Pick<TrainingState, 'parameters' | 'optimizer'>): Map<string, TensorToStore> {
  const slots = [...optimizer.tensors].map(([name, data]): [string, TensorToStore] => [
    `optimizer:${name}`,
    { dtype: 'F32', shape: [data.length], data },
  ]);
  return new Map([...[...parameters].map(([name, tensor]) => [`parameter:${name}`, tensor] as const), ...slots]);
}

/** The inverse of {@link stateTensors}. */
export function stateFromTensors(stored: ReadonlyMap<string, StoredTensor>): {
  parameters: TrainingState['parameters'];
  slots: Map<string, Float32Array>;
} {
  const parameters: TrainingState['parameters'] = new Map();
  const slots = new Map<string, Float32Array>();
  for (const [key, { shape, data }] of stored) {
    const [, kind, name] = /^(parameter|optimizer):(.*)$/s.exec(key) ?? [];
    const values = new Float32Array(Uint8Array.from(data).buffer);
    if (kind === 'parameter') parameters.set(name as string, { dtype: 'F32', shape, data: values });
    else slots.set(name as string, values);
  }
  return { parameters, slots };
}
