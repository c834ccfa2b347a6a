import { readFileSync } from 'node:fs';
import test from 'ava';
import * as classes from '../../ts/data/tokenization/unicode-classes.js';

/** Made by test/fixtures/make_tokenizers.py: starts and ends of the ranges of each class, as the reference has it. */
const expected = JSON.parse(readFileSync(new URL('./unicode-classes.json', import.meta.url), 'utf8')) as Record<
  string,
  number[]
>;

const names = [
  'WHITE_SPACE',
  'PUNCTUATION',
  'CONTROL',
  'NONSPACING_MARK',
  'COMBINING_MARK',
  'LETTER',
  'NUMBER',
  'WORD',
  'IDEOGRAPH',
] as const;

/** Letters that the reference knows and an engine of an older Unicode does not. */
const isOlder = Number(process.versions['unicode'] ?? 0) < 16;

function edges(holds: (char: string) => boolean): number[] {
  const result: number[] = [];
  let inside = false;
  for (let code = 0; code < 0x110000; code++) {
    if (code === 0xd800) code = 0xe000;
    if (holds(String.fromCodePoint(code)) === inside) continue;
    result.push(code);
    inside = !inside;
  }
  return inside ? [...result, 0x110000] : result;
}

for (const name of names) {
  const maybe = isOlder && ['LETTER', 'NUMBER', 'WORD'].includes(name) ? test.skip : test;
  maybe(`${name} has the reference's code points`, (t) => {
    const regex = new RegExp(`[${classes[name]}]`, 'v');
    t.deepEqual(
      edges((char) => regex.test(char)),
      expected[name],
    );
  });
}

test('lower case, and decomposition of what is not inert, change the same characters', (t) => {
  const inert = new RegExp(`[${classes.INERT}]`, 'v');
  const changed = edges((char) => !inert.test(char) && char.normalize('NFKD') !== char);
  t.deepEqual(changed, expected['NFKD changes']);
  if (!isOlder)
    t.deepEqual(
      edges((char) => char.toLowerCase() !== char),
      expected['lowercase changes'],
    );
});
