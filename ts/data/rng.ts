/**
 * A small deterministic generator (splitmix32), the same on every platform. Not for secrets.
 */
export class Rng {
  #state: number;

  /** @param seed any number of integers, all of which matter; each counts by its lower 53 bits */
  constructor(...seed: number[]) {
    this.#state = 0;
    for (const part of seed) {
      // Two rounds a part, so that (1, 2) and (2, 1) start apart.
      this.#state = (this.nextUint32() ^ (part >>> 0)) >>> 0;
      this.#state = (this.nextUint32() ^ (Math.floor(part / 2 ** 32) >>> 0)) >>> 0;
    }
  }

  /** The next of 0 .. 2^32 - 1. */
  nextUint32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** The next of [0, 1). */
  nextFloat(): number {
    return this.nextUint32() / 2 ** 32;
  }

  /** The next of the standard normal distribution (Box and Muller 1958). */
  nextNormal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.nextFloat()));
    return radius * Math.cos(2 * Math.PI * this.nextFloat());
  }

  /** The next whole number of 0 .. bound - 1, each as likely; 1 <= bound <= 2^32. */
  nextBelow(bound: number): number {
    // The part of the range that does not divide evenly is drawn again.
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const value = this.nextUint32();
      if (value < limit) return value % bound;
    }
  }

  /** Shuffles in place (Fisher-Yates) and returns the array. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.nextBelow(i + 1);
      const held = items[i]!;
      items[i] = items[j]!;
      items[j] = held;
    }
    return items;
  }
}
