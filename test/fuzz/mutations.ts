// Damage to files, for property tests of what reads them.
import process from 'node:process';
import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { DeftuneError } from '../../ts/error.js';

/** Inputs that each property tries: DEFTUNE_FUZZ_RUNS, default 300. */
export const RUNS = Number(process.env['DEFTUNE_FUZZ_RUNS'] ?? 300);

/** The bytes with some changed, put in, taken out or cut off. */
export function damaged(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
  const text = fc.string({ minLength: 1, maxLength: 9 }).map((characters) => new TextEncoder().encode(characters));
  const some = fc.oneof(text, fc.uint8Array({ minLength: 1, maxLength: 4 }));
  const edit = fc.oneof(
    fc.record({ kind: fc.constantFrom('set' as const, 'insert' as const, 'remove' as const), place, with: some }),
    fc.record({ kind: fc.constant('cut' as const), place, with: fc.constant(new Uint8Array()) }),
    // Headers stand at the front.
    fc.record({
      kind: fc.constant('set' as const),
      place: fc.nat(64).map((at) => at / Math.max(1, bytes.length)),
      with: fc.uint8Array({ minLength: 1, maxLength: 2 }),
    }),
  );
  return fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => {
    let result = Buffer.from(bytes);
    for (const { kind, place: where, with: data } of edits) {
      const at = Math.min(result.length, Math.floor(where * result.length));
      const [front, back] = [result.subarray(0, at), result.subarray(at)];
      if (kind === 'cut') result = Buffer.from(front);
      else if (kind === 'insert') result = Buffer.concat([front, data, back]);
      else if (kind === 'remove') result = Buffer.concat([front, back.subarray(data.length)]);
      else result = Buffer.concat([front, data, back.subarray(data.length)]);
    }
    return new Uint8Array(result);
  });
}

const NASTY: readonly unknown[] = [
  null,
  true,
  false,
  0,
  1,
  -1,
  3,
  0.5,
  1e9,
  -1e300,
  2 ** 53,
  '',
  'x',
  '\u0000',
  'constructor',
  '__proto__',
  '𝄞\ud800',
  '(',
  [],
  [null],
  [[]],
  {},
  { '': 1 },
  { type: 'Sequence' },
];

/** A JSON value with one to three of its parts replaced, removed or doubled. */
export function alteredJson(value: unknown): fc.Arbitrary<unknown> {
  const paths = pathsOf(value).filter((path) => path.length > 0);
  const edit = fc.record({
    path: fc.constantFrom(...paths),
    kind: fc.constantFrom('replace', 'replace', 'remove', 'add'),
    with: fc.constantFrom(...NASTY),
  });
  return fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => {
    const copy = structuredClone(value);
    for (const { path, kind, with: chosen } of edits) {
      const nasty = structuredClone(chosen);
      let parent = copy as Record<string, unknown> | unknown[] | undefined;
      for (const key of path.slice(0, -1)) {
        const next: unknown = (parent as Record<string, unknown> | undefined)?.[key];
        parent = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : undefined;
      }
      if (!parent) continue;
      const last = path.at(-1) as string;
      if (kind === 'replace') (parent as Record<string, unknown>)[last] = nasty;
      else if (kind === 'add' && Array.isArray(parent)) parent.push(nasty);
      else if (Array.isArray(parent)) parent.splice(Number(last), 1);
      else Reflect.deleteProperty(parent, last);
    }
    return copy;
  });
}

/** Paths of up to some hundred parts, those near the root first. */
function pathsOf(value: unknown): string[][] {
  const found: string[][] = [[]];
  for (let at = 0; at < found.length && found.length < 600; at++) {
    const path = found[at] as string[];
    const part = path.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], value);
    if (typeof part !== 'object' || part === null) continue;
    for (const key of Object.keys(part).slice(0, 40)) found.push([...path, key]);
  }
  return found;
}

/** What a reader may do with bad input: a result, or one line for people. */
export async function answersOrRefuses(read: () => unknown): Promise<'answered' | 'refused'> {
  try {
    await read();
    return 'answered';
  } catch (error) {
    if (!(error instanceof DeftuneError)) throw error;
    if (/\n/.test(error.message) || error.message.length > 4000) {
      throw new Error(`not one line: ${error.message.slice(0, 500)}`, { cause: error });
    }
    return 'refused';
  }
}

/** Runs a property and says how many inputs it tried; both outcomes must occur, or the inputs test nothing. */
export async function tryAll<T>(
  t: ExecutionContext,
  inputs: fc.Arbitrary<T>,
  read: (input: T) => unknown,
  runs = RUNS,
): Promise<void> {
  const seen = { answered: 0, refused: 0 };
  const property = fc.asyncProperty(inputs, async (input) => {
    seen[await answersOrRefuses(() => read(input))] += 1;
  });
  const seed = process.env['DEFTUNE_FUZZ_SEED'];
  await fc.assert(property, { numRuns: runs, ...(seed === undefined ? {} : { seed: Number(seed) }) });
  t.log(`${runs} inputs: ${seen.answered} read, ${seen.refused} refused`);
  t.true(seen.refused > 0 && seen.answered + seen.refused >= runs);
}
