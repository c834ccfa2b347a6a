// Checkpoints that are broken, of another model, or of values that are no numbers.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixture, modelWith } from '../fixtures.js';
import { RELU, type Place } from './place.js';
import { refused } from './refused.js';
import { entry, original, poisoned, safetensors } from './spoiled-safetensors.js';

function emptyModel(place: Place): string {
  const path = place.folderCalled('bare');
  writeFileSync(join(path, 'config.json'), readFileSync(join(RELU.model, 'config.json')));
  return path;
}

function withoutShard(place: Place): string {
  const path = join(place.folder, 'shards');
  const { model } = fixture('relu_f16');
  cpSync(model, path, { recursive: true, filter: (file) => !file.includes('00002-of') });
  return path;
}

refused('checkpoints', [
  [
    'an empty checkpoint',
    (p) => p.predict({ model: p.modelOf(new Uint8Array(0)) }),
    /model\.safetensors: expected at least 8 bytes .*found 0/,
  ],
  [
    'a truncated checkpoint',
    (p) => p.predict({ model: p.modelOf(original().subarray(0, 5000)) }),
    /model\.safetensors: .*is it truncated\?/,
  ],
  [
    'a truncated header',
    (p) => p.predict({ model: p.modelOf(original().subarray(0, 100)) }),
    /model\.safetensors: header length \d+ exceeds the file, which has 100 bytes/,
  ],
  [
    'an absurd header length',
    (p) => p.predict({ model: p.modelOf(safetensors('{}', 0, 2n ** 63n)) }),
    /model\.safetensors: header length 9223372036854775808 is not credible/,
  ],
  [
    'a header that is not JSON',
    (p) => p.predict({ model: p.modelOf(safetensors('{"a":')) }),
    /model\.safetensors \(header\):1:6: invalid JSON/,
  ],
  [
    'a header that is a list',
    (p) => p.predict({ model: p.modelOf(safetensors('[]')) }),
    /model\.safetensors: header is \[\], expected an object/,
  ],
  [
    'overlapping tensors',
    (p) => p.predict({ model: p.modelOf(safetensors(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12)) }),
    /model\.safetensors: tensor "b": data_offsets \[4,12\] overlaps/,
  ],
  [
    'offsets out of range',
    (p) => p.predict({ model: p.modelOf(safetensors(`{"a":${entry(0, 4000)}}`, 12)) }),
    /model\.safetensors: tensor "a": data_offsets \[0,4000\] exceed the file's 12 data bytes/,
  ],
  [
    'a negative offset',
    (p) => p.predict({ model: p.modelOf(safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}', 4)) }),
    /tensor "a": data_offsets is \[-4,0\], expected \[begin, end\]/,
  ],
  [
    'a shape that does not fit its bytes',
    (p) => p.predict({ model: p.modelOf(safetensors('{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}', 4)) }),
    /tensor "a": shape \[9\] of F32 takes 36 bytes/,
  ],
  [
    'an unknown dtype',
    (p) => p.predict({ model: p.modelOf(safetensors('{"a":{"dtype":"F12","shape":[1],"data_offsets":[0,4]}}', 4)) }),
    /tensor "a": dtype is "F12", expected one of/,
  ],
  [
    'a tensor twice',
    (p) => p.predict({ model: p.modelOf(safetensors(`{"a":${entry(0, 4)},"a":${entry(0, 4)}}`, 4)) }),
    /key "a" appears twice/,
  ],
  [
    'the tensors of another model',
    (p) => p.predict({ model: p.modelOf(safetensors(`{"a":${entry(0, 4)}}`, 4)) }),
    /model-relu.*: the checkpoint does not fit its config\.json: .* is missing; .*and \d+ more/,
  ],
  [
    'weights of another shape',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { intermediate_size: 80 }) }),
    /intermediate\.dense\.weight has shape \[76, 36\], expected \[80, 36\]/,
  ],
  [
    'a size that would fill the memory',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { vocab_size: 1e7, hidden_size: 60_000 }) }),
    /word_embeddings\.weight has shape \[57, 36\], expected \[10000000, 60000\]/,
  ],
  [
    'no checkpoint',
    (p) => p.predict({ model: emptyModel(p) }),
    /found neither model\.safetensors nor model\.safetensors\.index\.json/,
  ],
  [
    'a shard that is missing',
    (p) => p.predict({ model: withoutShard(p) }),
    /index\.json: weight_map .* names model-00002-of-00003\.safetensors, but .* does not exist/,
  ],
  [
    'weights that are NaN',
    (p) => p.predict({ model: p.modelOf(poisoned(NaN)) }),
    /example 0: the logits are NaN, NaN, expected finite numbers; .*the parameter bert\.encoder\.layer\.0\.output\.dense\.weight/,
  ],
  [
    'a NaN loss',
    (p) => p.train('--model', p.modelOf(poisoned(NaN))),
    /step 1: the loss is NaN, expected a finite number; .*the parameter bert\.encoder\.layer\.0\.output\.dense\.weight/,
  ],
  [
    'an infinite weight in training',
    (p) => p.train('--model', p.modelOf(poisoned(Infinity))),
    /step 1: the loss is (NaN|Infinity), expected a finite number/,
  ],
]);
