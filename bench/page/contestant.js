// What every contestant of bench:wasm shares: its numbers, and how long a piece of work takes.

/** Batches of calls; the best one counts. */
const BATCHES = 4;
/** Milliseconds that a batch lasts at least, and that a new work runs before it is timed, so that the engine has compiled it for speed. */
const SHORTEST = 8;
const WARM_UP = 120;

/** `len` numbers in -1..1, of which `percent` are not zero. */
export function numbers(len, seed, percent = 100) {
  let state = (seed * 2654435761) >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 8) / (1 << 23) - 1;
  };
  return Float32Array.from({ length: len }, () => {
    const value = next();
    return percent === 100 || 50 * (next() + 1) < percent ? value : 0;
  });
}

/** Seconds of one call of `work`, the best of some batches. */
async function secondsOf(work) {
  const run = async (least) => {
    const start = performance.now();
    let calls = 0;
    do {
      await work();
      calls += 1;
    } while (performance.now() - start < least);
    return (performance.now() - start) / calls / 1000;
  };
  await run(WARM_UP);
  let best = Infinity;
  for (let batch = 0; batch < BATCHES; batch++) best = Math.min(best, await run(SHORTEST));
  return best;
}

/**
 * Answers lines: `WORK NUMBERS…` with the seconds of one of the works that `open` makes. A work has `run()`, perhaps `calls` (how many products
 * a run is), `first()` (one value of the result, by which contestants are compared) and `close()`.
 */
export class Contestant {
  constructor(name, open) {
    this.name = name;
    this.open = open;
  }

  async ask(line) {
    const [work, ...words] = line.split(' ');
    if (this.line !== line) {
      await this.work?.close?.();
      this.work = await this.open[work](...words.map(Number));
      this.line = line;
    }
    return (await secondsOf(() => this.work.run())) / (this.work.calls ?? 1);
  }

  first() {
    return this.work.first();
  }
}
