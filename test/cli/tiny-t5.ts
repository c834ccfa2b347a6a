// The T5 of the fixtures, and one that knows a few words.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { temporaryFolder } from './run-deftune.js';

export interface Step {
  loss: number;
  taskLoss: number;
  densityLoss: number;
  gradNorm: number;
}
interface Records {
  inputIds: number[][];
  labelIds: number[][];
}
interface Expected {
  batch: Records;
  baseLoss: number;
  baseLosses: Record<string, number>;
  density: Record<'encoder' | 'decoder', { mean: number }>;
  training: { alpha: number; batches: Records[] } & Record<string, Step[]>;
  generation: { maxNewTokens: number; prompts: number[][]; byBeams: Record<string, number[][]>; adapted: number[][] };
}

const root = fileURLToPath(new URL('../fixtures/', import.meta.url));

export function t5(variant: string): { model: string; adapter: string; expected: Expected } {
  const folder = join(root, 't5', variant);
  const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected;
  return { model: join(folder, 'model'), adapter: join(folder, 'adapter'), expected };
}

export const recordsOf = ({ inputIds, labelIds }: Records): object[] =>
  inputIds.map((ids, index) => ({ inputIds: ids, labelIds: labelIds[index] }));

export const WORDS = [
  ...[
    '<pad>',
    '</s>',
    '<unk>',
    'sst2',
    'sentence:',
    'positive',
    'negative',
    'question:',
    'context:',
    'who',
    'won',
    'lost',
  ],
  ...[
    'ann',
    'bob',
    'cy',
    'a',
    'fine',
    'lovely',
    'dull',
    'poor',
    'film',
    'story',
    'is',
    'it',
    'the',
    'race',
    'and',
    '1',
    '0',
  ],
];

/** A tiny T5 whose tokenizer knows {@link WORDS}, and changes to its config. */
export function speaking(t: ExecutionContext, config: Record<string, unknown> = {}): string {
  const folder = join(temporaryFolder(t), 'model');
  cpSync(t5('relu').model, folder, { recursive: true });
  const path = join(folder, 'config.json');
  const own = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...own, ...config }));
  writeFileSync(
    join(folder, 'generation_config.json'),
    JSON.stringify({ decoder_start_token_id: 0, eos_token_id: 1, pad_token_id: 0 }),
  );
  const special = ['<pad>', '</s>', '<unk>'].map((content, id) => ({
    ...{ id, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }));
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({
      version: '1.0',
      added_tokens: special,
      normalizer: { type: 'Lowercase' },
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
        pair: [
          { Sequence: { id: 'A', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
          { Sequence: { id: 'B', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
        ],
        special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
      },
      model: { type: 'WordLevel', unk_token: '<unk>', vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])) },
    }),
  );
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ eos_token: '</s>', pad_token: '<pad>', unk_token: '<unk>', model_max_length: 12 }),
  );
  return folder;
}
