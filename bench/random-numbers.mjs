// Checkpoints of random weights.

/** @param shapes by name @param values (name, size) -> Float32Array */
export function randomSource(shapes, values) {
  return {
    name: 'random weights',
    names: () => [...shapes.keys()],
    get(name) {
      const shape = shapes.get(name);
      if (!shape) return undefined;
      const floats = values(
        name,
        shape.reduce((product, dim) => product * dim, 1),
      );
      return { dtype: 'F32', shape, data: new Uint8Array(floats.buffer) };
    },
  };
}

let state = 0x2545f491;
/** Uniform numbers of the given standard deviation. */
export function uniform(size, deviation) {
  const out = new Float32Array(size);
  const factor = (deviation * Math.sqrt(12)) / 2 ** 32;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = state * factor;
  }
  return out;
}

/** x with P(standard normal > x) = share. */
export function upperQuantile(share) {
  const step = 1e-4;
  let x = 8;
  for (let tail = 0; tail < share && x > -8; x -= step)
    tail += (step * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
  return x;
}

/** Number `index` of a sequence of random shares, 0 to 1 (the finaliser "lowbias32"). */
export function randomShare(index) {
  let x = index + 1;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}
