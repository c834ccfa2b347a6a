/** Index of the largest value; the first of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if ((values[index] ?? 0) > (values[best] ?? 0)) best = index;
  return best;
}

/** softmax of one row, in double precision. */
export function softmax(values: ArrayLike<number>): number[] {
  const row = Array.from(values);
  const largest = Math.max(...row);
  const exps = row.map((value) => Math.exp(value - largest));
  const sum = exps.reduce((total, value) => total + value, 0);
  return exps.map((value) => value / sum);
}

/** -log softmax(values)[index], in double precision. */
export function crossEntropyOf(values: ArrayLike<number>, index: number): number {
  let largest = -Infinity;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, values[i] as number);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp((values[i] as number) - largest);
  return Math.log(sum) + largest - (values[index] ?? Number.NaN);
}
