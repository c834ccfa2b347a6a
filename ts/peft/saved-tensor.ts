/** A tensor of an adapter's file: mostly a parameter itself. */
export interface SavedTensor {
  /** Its shape in the file. */
  readonly storedShape: readonly number[];
  /** Its values as the file holds them. */
  toStored(): Float32Array;
  /** Overwrites it with those of a file. */
  writeStored(values: Float32Array): void;
}

/** Values of a stored tensor, widened to f32. */
export interface TensorValues {
  shape: readonly number[];
  values: Float32Array;
}

/** What a file holds of tensors. */
export function valuesOf(tensors: ReadonlyMap<string, SavedTensor>): Map<string, TensorValues> {
  return new Map(
    [...tensors].map(([key, tensor]) => [key, { shape: [...tensor.storedShape], values: tensor.toStored() }]),
  );
}
