import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { fixture, texts } from './tokenizer-fixture.js';

for (const [name, folder] of Object.entries(fixture.vocabularyFiles.folders)) {
  test(`vocabulary files ${name}: as transformers makes a tokenizer of them`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'deftune-vocabulary-'));
    t.teardown(() => rmSync(dir, { recursive: true }));
    const files = { ...folder.files, ...fixture.vocabularyFiles.files[folder.vocabulary] };
    for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text);
    const tokenizer = await AutoTokenizer.fromPretrained(dir);
    t.is(tokenizer.vocabSize, folder.vocabSize);
    const { bosTokenId, eosTokenId, unkTokenId, sepTokenId, clsTokenId, maskTokenId } = tokenizer;
    const special = {
      bos: bosTokenId,
      eos: eosTokenId,
      unk: unkTokenId,
      sep: sepTokenId,
      cls: clsTokenId,
      mask: maskTokenId,
    };
    for (const [role, id] of Object.entries(special)) t.is(id ?? null, folder.special[role as 'bos'], role);
    const chosen = texts.filter((_, at) => at % 3 === 0);
    for (const [at, [ids, types, edges, decoded]] of folder.cases.entries()) {
      const pair = at % 4 === 2 ? chosen[(at + 1) % chosen.length] : undefined;
      // transformers takes an empty second text for none.
      const found = tokenizer.encode(chosen[at]!, { textPair: pair === '' ? undefined : pair });
      t.deepEqual([found.inputIds, found.tokenTypeIds, found.offsets.flat()], [ids, types, edges], chosen[at]);
      t.is(tokenizer.decode(ids, { skipSpecialTokens: true }), decoded);
    }
  });
}
