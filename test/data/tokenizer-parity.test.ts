// Tokenizers of every kind against the reference, token for token.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { Tokenizer } from '../../ts/data/tokenizer.js';
import { DeftuneError } from '../../ts/error.js';
import { fixture, texts, type Cases } from './tokenizer-fixture.js';

const shared = process.env['DEFTUNE_SHARED'] ?? fileURLToPath(new URL('../../../shared', import.meta.url));

function compare(t: ExecutionContext, tokenizer: Tokenizer, { vocabSize, singles, pairs }: Cases): void {
  t.is(tokenizer.vocabSize, vocabSize);
  for (const [at, ids, edges, decoded] of singles) {
    const found = tokenizer.encode(texts[at]!);
    t.deepEqual(found.inputIds, ids, texts[at]);
    t.deepEqual(found.offsets.flat(), edges, texts[at]);
    t.false(found.truncated);
    if (!decoded) continue;
    t.is(tokenizer.decode(decoded[0]), decoded[1]);
    t.is(tokenizer.decode(decoded[0], { skipSpecialTokens: true }), decoded[2]);
  }
  for (const { text, pair, maxLength, stride, truncation, windows } of pairs) {
    const textPair = pair === null ? undefined : texts[pair];
    const options = { textPair, maxLength: maxLength ?? undefined, stride, truncation };
    const run = () => tokenizer.encodeWindows(texts[text]!, options);
    const what = JSON.stringify({ text: texts[text], ...options });
    if (!windows) {
      t.throws(run, { instanceOf: DeftuneError }, what);
      continue;
    }
    const found = run().map((window, index) =>
      [window.inputIds, window.tokenTypeIds, window.offsets, window.sequenceIds].slice(0, windows[index]?.length),
    );
    t.deepEqual(found, windows, what);
    if (stride === 0) t.deepEqual(tokenizer.encode(texts[text]!, options), run()[0], what);
  }
}

for (const [name, cases] of Object.entries(fixture.small)) {
  test(`${name}: token for token as the reference`, (t) => {
    compare(t, Tokenizer.fromJson(cases.tokenizer), cases);
  });
}

for (const [model, cases] of Object.entries(fixture.models)) {
  const dir = join(shared, 'models', model);
  const maybe = existsSync(dir) ? test : test.skip;
  maybe(`${model}: token for token as the reference`, async (t) => {
    compare(t, await AutoTokenizer.fromPretrained(dir), cases);
  });
}
