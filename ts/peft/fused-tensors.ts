import type { Parameter } from '../nn/parameter.js';
import type { SavedTensor } from './saved-tensor.js';

// A projection to queries, keys and values in one (GPT-2's c_attn) as `adapters` adapts it: each part by itself, or not at all.

/** Rows of some parts of a projection; in the others a constant stands. */
export class PartRows implements SavedTensor {
  /**
   * @param whole [3 · d, columns]
   * @param parts which of the three the file has, 0 to 2, ascending
   * @param columns how many of the columns belong to each part, one part's after another's; 0: all to every part
   * @param rest what stands in the projection's other elements
   */
  constructor(
    private readonly whole: Parameter,
    private readonly parts: readonly number[],
    private readonly columns: number,
    private readonly rest: number,
  ) {}

  /** Rows of a part, and columns of all. */
  private get sizes(): readonly [d: number, cols: number] {
    const [rows, cols] = this.whole.storedShape as [number, number];
    return [rows / 3, cols];
  }

  get storedShape(): readonly [number, number] {
    const [d, cols] = this.sizes;
    return [d * this.parts.length, this.columns === 0 ? cols : this.columns];
  }

  /** Where the elements of the file are in the projection. */
  private places(): number[] {
    const [d, cols] = this.sizes;
    const width = this.storedShape[1];
    return this.parts.flatMap((part, index) =>
      Array.from({ length: d * width }, (_, at) => {
        const [row, column] = [Math.floor(at / width), at % width];
        return (part * d + row) * cols + index * this.columns + column;
      }),
    );
  }

  toStored(): Float32Array {
    const values = this.whole.toStored();
    return Float32Array.from(this.places(), (place) => values[place] as number);
  }

  writeStored(values: Float32Array): void {
    const found = new Float32Array(this.whole.size).fill(this.rest);
    this.places().forEach((place, at) => (found[place] = values[at] as number));
    this.whole.writeStored(found);
  }

  /** Whether the file can hold it: whether the other elements are the constant. */
  get isWhole(): boolean {
    const places = new Set(this.places());
    return this.whole.toStored().every((value, at) => value === this.rest || places.has(at));
  }
}

/** A tensor that a file has several times over, one under another. */
export class Repeated implements SavedTensor {
  constructor(
    private readonly once: Parameter,
    private readonly times: number,
  ) {}

  get storedShape(): readonly [number, number] {
    return [this.once.rows * this.times, this.once.cols];
  }

  toStored(): Float32Array {
    const values = this.once.toStored();
    return Float32Array.from({ length: values.length * this.times }, (_, at) => values[at % values.length] as number);
  }

  /** Takes the first. */
  writeStored(values: Float32Array): void {
    this.once.writeStored(values.subarray(0, this.once.size));
  }
}
