import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';
import type { OptimizedParameter, OptimizerState } from './optimizer.js';

/** What an optimizer remembers of each parameter: tensors of its size, zero at first, outside every scope. */
export class OptimizerSlots {
  private readonly handles = new Map<string, number>();

  /** @param names of the slots, e.g. `m` and `v` */
  constructor(
    private readonly backend: Backend,
    parameters: readonly OptimizedParameter[],
    names: readonly string[],
  ) {
    for (const { name, parameter } of parameters) {
      for (const slot of names) {
        this.handles.set(`${name}.${slot}`, backend.keep(backend.zeros(parameter.rows, parameter.cols), 0));
      }
    }
  }

  /** Handle of one slot. */
  get(name: string, slot: string): number {
    return this.handles.get(`${name}.${slot}`) as number;
  }

  /** Copies of all slots. */
  read(): OptimizerState['tensors'] {
    return new Map([...this.handles].map(([key, handle]) => [key, this.backend.readF32(handle)]));
  }

  /** @throws DeftuneError where a slot is missing, unexpected or of another size; nothing is written then */
  write(tensors: OptimizerState['tensors']): void {
    for (const key of [...this.handles.keys(), ...tensors.keys()]) {
      const [own, given] = [this.handles.get(key), tensors.get(key)];
      if (own === undefined) throw new DeftuneError(`optimizer state: ${key} is unexpected`);
      if (given === undefined) throw new DeftuneError(`optimizer state: ${key} is missing`);
      const size = this.backend.readF32(own).length;
      if (given.length !== size) {
        throw new DeftuneError(`optimizer state: ${key} has ${given.length} elements, expected ${size}`);
      }
    }
    for (const [key, handle] of this.handles) this.backend.writeF32(handle, tensors.get(key) as Float32Array);
  }

  dispose(): void {
    for (const handle of this.handles.values()) this.backend.free(handle);
    this.handles.clear();
  }
}
