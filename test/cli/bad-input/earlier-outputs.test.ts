import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { runDeftune, temporaryFolder } from '../run-deftune.js';
import { Place } from './place.js';
import { contents, fails } from './refused.js';
import { poisoned } from './spoiled-safetensors.js';

test('outputs of an earlier run stay as they are when a run fails', async (t) => {
  const place = new Place(temporaryFolder(t));
  await runDeftune(t, place.train());
  writeFileSync(place.output, 'earlier\n');
  const before = contents(place.folder);
  t.true(Object.keys(before).some((name) => name.endsWith('adapter_model.safetensors')));
  await fails(t, place.train('--model', place.modelOf(poisoned(NaN))), /the loss is NaN/);
  await fails(t, place.predict({ input: place.file('bad.jsonl', '{') }), /bad\.jsonl:1:2: invalid JSON/);
  for (const [name, content] of Object.entries(before)) t.is(readFileSync(name, 'base64'), content);
});
