// One set of weights under every spelling that checkpoints have: prefix or none, gamma and beta, F16, BF16, shards, extra heads.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { DeftuneError } from '../../ts/error.js';
import { parseSafetensors, serializeSafetensors, type TensorToStore } from '../../ts/io/safetensors.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { fixturePath, maxDifference, openBase, readExpected, run } from './bert-fixtures.js';

const root = mkdtempSync(join(tmpdir(), 'deftune-spellings-'));
test.after.always(() => rmSync(root, { recursive: true }));

const expected = readExpected('relu');
const original = join(fixturePath('relu', 'model'), 'model.safetensors');
const { tensors } = parseSafetensors(new Uint8Array(readFileSync(original)), original);
let folders = 0;

type Tensors = Map<string, TensorToStore>;

/** The fixture's tensors, each passed through `change`: a new name, no name (left out), or other contents. */
function changed(change: (name: string, tensor: TensorToStore) => [string, TensorToStore][]): Tensors {
  return new Map(
    [...tensors].flatMap(([name, { dtype, shape, data }]) =>
      change(name, { dtype, shape: [...shape], data } as TensorToStore),
    ),
  );
}

const renamed = (rename: (name: string) => string): Tensors => changed((name, tensor) => [[rename(name), tensor]]);

/** A model directory with these shards (one: `model.safetensors`). */
function folder(...shards: Tensors[]): string {
  const directory = join(root, String((folders += 1)));
  mkdirSync(directory);
  copyFileSync(join(fixturePath('relu', 'model'), 'config.json'), join(directory, 'config.json'));
  const weightMap: Record<string, string> = {};
  for (const [index, shard] of shards.entries()) {
    const file =
      shards.length === 1 ? 'model.safetensors' : `model-0000${index + 1}-of-0000${shards.length}.safetensors`;
    writeFileSync(join(directory, file), serializeSafetensors(shard));
    for (const name of shard.keys()) weightMap[name] = file;
  }
  const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
  if (shards.length > 1) writeFileSync(join(directory, 'model.safetensors.index.json'), index);
  return directory;
}

async function sameLogits(t: ExecutionContext, backend: Backend, directory: string, tolerance = 1e-4): Promise<void> {
  const notices: string[] = [];
  const model = await openBase(backend, 'relu', { directory, onNotice: (notice) => notices.push(notice) });
  const difference = maxDifference(run(model, expected.batch).logits, expected.baseLogits.flat());
  t.true(difference <= tolerance, `logits are off by ${difference}`);
  t.deepEqual(notices, []);
}

const spellings: [title: string, make: () => Tensors][] = [
  ['as stored', () => renamed((name) => name)],
  ['without the prefix', () => renamed((name) => name.replace(/^bert\./, ''))],
  [
    'with gamma and beta',
    () =>
      renamed((name) =>
        name.replace(/LayerNorm\.weight$/, 'LayerNorm.gamma').replace(/LayerNorm\.bias$/, 'LayerNorm.beta'),
      ),
  ],
  [
    'with gamma and beta, without the prefix',
    () =>
      renamed((name) =>
        name
          .replace(/^bert\./, '')
          .replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
          .replace(/LayerNorm\.bias$/, 'LayerNorm.beta'),
      ),
  ],
  [
    'with the head of pre-training and the position buffer',
    () =>
      changed((name, tensor) =>
        name === 'classifier.bias'
          ? [
              [name, tensor],
              ['cls.predictions.bias', tensor],
              ['cls.seq_relationship.weight', tensor],
              ['bert.embeddings.position_ids', tensor],
            ]
          : [[name, tensor]],
      ),
  ],
];

for (const [title, make] of spellings) {
  onEachBackend(`a checkpoint ${title}`, (t, backend) => sameLogits(t, backend, folder(make())));
}

onEachBackend('shards', async (t, backend) => {
  const all = [...renamed((name) => name)];
  const third = Math.ceil(all.length / 3);
  const shards = [0, 1, 2].map((index) => new Map(all.slice(index * third, (index + 1) * third)));
  await sameLogits(t, backend, folder(...shards));
});

/** The bytes of values rounded to half precision, by truncation of what does not fit (test data need no better rounding). */
function narrowed(dtype: 'F16' | 'BF16', data: Uint8Array): Uint8Array {
  const values = new Float32Array(data.slice().buffer);
  const bits = new Uint32Array(values.buffer);
  const halves = Uint16Array.from(bits, (word) => {
    if (dtype === 'BF16') return word >>> 16;
    const sign = (word >>> 16) & 0x8000;
    const exponent = ((word >>> 23) & 0xff) - 112;
    return exponent <= 0 ? sign : sign | (exponent << 10) | ((word >>> 13) & 0x3ff);
  });
  return new Uint8Array(halves.buffer);
}

for (const [dtype, tolerance] of [
  ['F16', 5e-3],
  ['BF16', 5e-2],
] as const) {
  onEachBackend(`${dtype} weights`, (t, backend) =>
    sameLogits(
      t,
      backend,
      folder(changed((name, { shape, data }) => [[name, { dtype, shape, data: narrowed(dtype, data as Uint8Array) }]])),
      tolerance,
    ),
  );
}

onEachBackend('what does not fit is named, and nothing is left in memory', async (t, backend) => {
  const cases: [tensors: Tensors, message: RegExp][] = [
    [
      changed((name, tensor) => (name.endsWith('layer.1.output.dense.weight') ? [] : [[name, tensor]])),
      /does not fit its config\.json: bert\.encoder\.layer\.1\.output\.dense\.weight is missing$/,
    ],
    [
      changed((name, tensor) => [[name, name.endsWith('query.weight') ? { ...tensor, shape: [27, 48] } : tensor]]),
      /layer\.0\.attention\.self\.query\.weight has shape \[27, 48\], expected \[36, 36\]/,
    ],
    [
      changed((name, tensor) => [
        [name, tensor],
        [`${name}.extra`, tensor],
      ]),
      /bert\.\S+\.extra is unexpected.*; and \d+ more$/,
    ],
    [
      changed((name, tensor) => [[name, name === 'classifier.bias' ? { ...tensor, dtype: 'I32' } : tensor]]),
      /classifier\.bias is stored as I32, expected F32, F16 or BF16/,
    ],
  ];
  for (const [stored, message] of cases) {
    const error = await t.throwsAsync(openBase(backend, 'relu', { directory: folder(stored) }), {
      instanceOf: DeftuneError,
    });
    t.regex(error?.message ?? '', message);
    t.false(error?.message.includes('\n') ?? true);
    t.is(backend.liveTensors(), 0);
  }
});
