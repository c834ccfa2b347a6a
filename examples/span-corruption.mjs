// T5's own task from a table of sentences (Raffel et al. 2020): spans of words are taken out, and the decoder writes them.
//   node examples/span-corruption.mjs SENTENCES.tsv RECORDS.jsonl [MOST RECORDS]
// Each sentence of at least 10 words gives one record; 15 % of its words go, in spans of 3 words on average. The same file gives the same records.
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';

const LEAST_WORDS = 10;
const SHARE = 0.15;
const SPAN = 3;

/** Uniform numbers from 0 to less than 1 (mulberry32). */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `total` as a sum of so many whole numbers from `least` on, all sums alike. */
function parts(total, count, least, random) {
  const free = total - count * least;
  const cuts = Array.from({ length: count - 1 }, () => Math.floor(random() * (free + 1))).sort((a, b) => a - b);
  return Array.from({ length: count }, (_, part) => least + (cuts[part] ?? free) - (cuts[part - 1] ?? 0));
}

function corrupted(words, random) {
  const taken = Math.round(words.length * SHARE);
  const spans = Math.max(1, Math.round(taken / SPAN));
  const lengths = parts(taken, spans, 1, random);
  // A word at least stands before and between spans; what is left stands behind the last.
  const gaps = parts(words.length - taken + 1, spans + 1, 1, random);
  const [text, target] = [[], []];
  let at = 0;
  lengths.forEach((length, span) => {
    text.push(...words.slice(at, at + gaps[span]), `<extra_id_${span}>`);
    at += gaps[span];
    target.push(`<extra_id_${span}>`, ...words.slice(at, at + length));
    at += length;
  });
  return { text: [...text, ...words.slice(at)].join(' '), target: [...target, `<extra_id_${spans}>`].join(' ') };
}

const [input, output, most = 'Infinity'] = process.argv.slice(2);
const random = randomNumbers(0);
const [, ...lines] = readFileSync(input, 'utf8').trimEnd().split('\n');
const sentences = lines
  .map((line) => line.split('\t')[0].trim().split(/\s+/))
  .filter(({ length }) => length >= LEAST_WORDS);
const records = sentences.slice(0, Number(most)).map((words) => corrupted(words, random));
writeFileSync(output, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
console.log(`${records.length} records: ${output}`);
