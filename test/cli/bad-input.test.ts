// Every bad input: exit code 1, one line on standard error that names what is wrong, nothing written.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { bundled, fixture, modelWith } from './fixtures.js';
import { runDeftune, temporaryFolder, writeLines } from './run-deftune.js';

const RELU = fixture('relu');

/** A test's folder with good files in it; cases spoil what they need to. */
class Place {
  readonly output: string;
  readonly out: string;

  constructor(readonly folder: string) {
    this.output = join(folder, 'predictions.jsonl');
    this.out = join(folder, 'adapter');
  }

  file(name: string, text: string | Uint8Array): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  lines(...records: unknown[]): string {
    return writeLines(join(this.folder, 'records.jsonl'), records);
  }

  /** A copy of the model with another model.safetensors. */
  modelOf(safetensors: Uint8Array): string {
    const model = modelWith(this.folder, 'relu', {});
    writeFileSync(join(model, 'model.safetensors'), safetensors);
    return model;
  }

  predict(settings: { model?: string; input?: string; adapter?: string; output?: string } = {}): string[] {
    const { model = RELU.model, input = this.lines({ inputIds: [1, 2] }), adapter, output = this.output } = settings;
    const extra = adapter === undefined ? [] : ['--adapter', adapter];
    return ['predict', '--model', model, '--input', input, '--output', output, ...extra];
  }

  train(...extra: string[]): string[] {
    const good = writeLines(join(this.folder, 'good.jsonl'), [
      { inputIds: [1, 2], label: 0 },
      { inputIds: [3], label: 1 },
    ]);
    const own = (name: string, value: string): string[] => (extra.includes(name) ? [] : [name, value]);
    const data = extra.includes('--task') ? [] : own('--train-file', good);
    return ['train', ...own('--model', RELU.model), ...data, ...own('--out', this.out), '--max-steps', '1', ...extra];
  }
}

/** A safetensors file from its header. */
function safetensors(header: string, data = 0, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const entry = (begin: number, end: number): string =>
  `{"dtype":"F32","shape":[${(end - begin) / 4}],"data_offsets":[${begin},${end}]}`;

const original = (): Buffer => readFileSync(join(RELU.model, 'model.safetensors'));

/** The model's own file with one of its values replaced. */
function poisoned(value: number): Uint8Array {
  const bytes = Uint8Array.from(original());
  const view = new DataView(bytes.buffer);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Record<
    string,
    { data_offsets?: [number, number] }
  >;
  const [begin] = header['bert.encoder.layer.0.output.dense.weight']?.data_offsets ?? [0];
  view.setFloat32(start + begin, value, true);
  return bytes;
}

type Case = [what: string, args: (place: Place) => string[], message: RegExp];

const FILES: readonly Case[] = [
  [
    'no model folder',
    (p) => p.predict({ model: join(p.folder, 'none') }),
    /none\/config\.json: cannot read: no such file/,
  ],
  [
    'a file for a model',
    (p) => p.predict({ model: p.file('m', 'x') }),
    /m\/config\.json: cannot read: a part of its path is not a folder/,
  ],
  ['no input', (p) => p.predict({ input: join(p.folder, 'none.jsonl') }), /none\.jsonl: cannot read: no such file/],
  [
    'a folder for an input',
    (p) => p.predict({ input: folderCalled(p, 'in.jsonl') }),
    /in\.jsonl: cannot read: it is a folder, expected a file/,
  ],
  [
    'an input of another kind',
    (p) => p.predict({ input: p.file('in.docx', 'x') }),
    /in\.docx: .*"docx", expected .*\.jsonl/,
  ],
  ['no adapter folder', (p) => p.predict({ adapter: join(p.folder, 'none') }), /none: adapter_config\.json is missing/],
  [
    'an adapter without weights',
    (p) => p.predict({ adapter: adapterWith(p, {}, null) }),
    /adapter_model\.safetensors: cannot read: no such file/,
  ],
  [
    'no training file',
    (p) => p.train('--train-file', join(p.folder, 'none.csv')),
    /none\.csv: cannot read: no such file/,
  ],
  [
    'no validation file',
    (p) => p.train('--valid-file', join(p.folder, 'none.tsv')),
    /none\.tsv: cannot read: no such file/,
  ],
  [
    'no folder of a task',
    (p) => p.train('--task', 'sst2', '--data', join(p.folder, 'none')),
    /none: cannot read the files of sst2: no such folder/,
  ],
  [
    'an output in no folder',
    (p) => p.predict({ output: join(p.folder, 'none', 'o.jsonl') }),
    /o\.jsonl: cannot write: no such file or folder/,
  ],
  [
    'a folder for an output',
    (p) => p.predict({ output: folderCalled(p, 'o.jsonl') }),
    /o\.jsonl: cannot write: it is a folder, expected a file/,
  ],
  [
    'the input for an output',
    (p) => p.predict({ output: join(p.folder, 'records.jsonl') }),
    /--output is .*records\.jsonl, the input file/,
  ],
  [
    'a file for --out',
    (p) => p.train('--out', p.file('taken', 'x')),
    /taken: cannot write: .*taken is a file, expected a folder/,
  ],
  [
    '--out below a file',
    (p) => p.train('--out', join(p.file('taken', 'x'), 'out')),
    /taken\/out: cannot write: .*taken is a file, expected a folder/,
  ],
  ['the model’s folder for --out', (p) => p.train('--out', RELU.model), /--out is .*model, the model's own folder/],
  [
    'a log in no folder',
    (p) => p.train('--log', join(p.folder, 'none', 'log.jsonl')),
    /log\.jsonl: cannot write: no such file or folder/,
  ],
  [
    'a folder for a log',
    (p) => p.train('--log', folderCalled(p, 'log')),
    /log: cannot write: it is a folder, expected a file/,
  ],
  [
    'a file for the report’s folder',
    (p) => ['demo', '--out', p.file('taken', 'x')],
    /taken: cannot write: .*expected a folder/,
  ],
];

const CHECKPOINTS: readonly Case[] = [
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
];

const CONFIGS: readonly Case[] = [
  [
    'another architecture',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { model_type: 'mamba' }) }),
    /config\.json: model_type is "mamba", expected one of bert/,
  ],
  [
    'no architecture',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { model_type: undefined }) }),
    /config\.json: model_type is undefined, expected one of bert/,
  ],
  [
    'an unknown activation',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { hidden_act: 'maxout' }) }),
    /config\.json: hidden_act is "maxout", expected one of relu/,
  ],
  [
    'relative positions',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { position_embedding_type: 'relative_key' }) }),
    /config\.json: position_embedding_type is "relative_key", expected "absolute"/,
  ],
  [
    'a decoder',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { is_decoder: true }) }),
    /config\.json: is_decoder is true, expected false/,
  ],
  [
    'heads that do not divide',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { num_attention_heads: 5 }) }),
    /config\.json: num_attention_heads is 5, expected a divisor of hidden_size \(36\)/,
  ],
  [
    'a missing size',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { intermediate_size: undefined }) }),
    /config\.json: intermediate_size is undefined, expected a whole number/,
  ],
  [
    'a size of the wrong type',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { hidden_size: '36' }) }),
    /config\.json: hidden_size is "36", expected a whole number/,
  ],
  [
    'label names of the wrong type',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { id2label: 3 }) }),
    /config\.json: id2label is 3, expected an object/,
  ],
  [
    'a config that is no JSON',
    (p) => p.predict({ model: withConfig(p, '{"model_type": "bert",}') }),
    /config\.json:1:23: invalid JSON/,
  ],
  [
    'a config with a key twice',
    (p) => p.predict({ model: withConfig(p, '{"model_type": "bert",\n"model_type": "bert"}') }),
    /config\.json:2:1: key "model_type" appears twice/,
  ],
  [
    'a config that is a list',
    (p) => p.predict({ model: withConfig(p, '[]') }),
    /config\.json: the file holds \[\], expected an object/,
  ],
  [
    'an adapter of another size',
    (p) => p.predict({ model: bundled.model, adapter: RELU.adapter }),
    /adapter: the adapter does not fit the model: .*lora_A\.weight has shape \[3, 36\], expected \[3, 384\]/,
  ],
  [
    'an adapter of another method',
    (p) => p.predict({ adapter: adapterWith(p, { peft_type: 'VERA' }) }),
    /adapter_config\.json: peft_type is "VERA", expected one of LORA/,
  ],
  [
    'an adapter with a setting that is not supported',
    (p) => p.predict({ adapter: adapterWith(p, { use_qalora: true }) }),
    /adapter_config\.json: use_qalora is true, expected false/,
  ],
  [
    'an adapter of another rank',
    (p) => p.predict({ adapter: adapterWith(p, { r: 4 }) }),
    /lora_A\.weight has shape \[3, 36\], expected \[4, 36\]/,
  ],
  [
    'an adapter’s rank of the wrong type',
    (p) => p.predict({ adapter: adapterWith(p, { r: 'x' }) }),
    /adapter_config\.json: r is "x"/,
  ],
  [
    'an adapter with fewer modules',
    (p) => p.predict({ adapter: adapterWith(p, { target_modules: ['query'] }) }),
    /value\.lora_A\.weight is unexpected/,
  ],
  [
    'an adapter for modules the model lacks',
    (p) => p.predict({ adapter: adapterWith(p, { target_modules: ['c_attn'] }) }),
    /'c_attn' matches no linear layer of the model/,
  ],
  [
    'truncated weights of an adapter',
    (p) =>
      p.predict({
        adapter: adapterWith(p, {}, readFileSync(join(RELU.adapter, 'adapter_model.safetensors')).subarray(0, 3000)),
      }),
    /adapter_model\.safetensors: .*is it truncated\?/,
  ],
  [
    'an adapter whose setting an option contradicts',
    (p) => p.train('--adapter', RELU.adapter, '--lora-r', '5'),
    /r is 5, expected 3 as in .*adapter/,
  ],
  [
    'an adapter whose method an option contradicts',
    (p) => p.train('--adapter', RELU.adapter, '--method', 'full'),
    /--method is full, expected lora/,
  ],
];

const RECORDS: readonly Case[] = [
  ['no records', (p) => p.predict({ input: p.file('in.jsonl', '\n') }), /in\.jsonl: no records, expected at least 1/],
  ['a header without records', (p) => p.predict({ input: p.file('in.csv', 'text,label\n') }), /in\.csv: no records/],
  [
    'a broken line',
    (p) => p.predict({ input: p.file('in.jsonl', '{"inputIds":[1]}\n{"inputIds":[1}\n') }),
    /in\.jsonl:2:15: invalid JSON, unexpected "\}/,
  ],
  [
    'a line that is no object',
    (p) => p.predict({ input: p.file('in.jsonl', '[1]\n') }),
    /in\.jsonl:1: .*\[1\], expected an object/,
  ],
  [
    'a key twice',
    (p) => p.predict({ input: p.file('in.jsonl', '{"inputIds":[1],"inputIds":[2]}\n') }),
    /in\.jsonl:1:17: key "inputIds" appears twice/,
  ],
  [
    'a column twice',
    (p) => p.predict({ input: p.file('in.csv', 'text,text\na,b\n') }),
    /in\.csv:1: column "text" appears twice/,
  ],
  [
    'neither text nor ids',
    (p) => p.predict({ input: p.lines({ body: 'x' }) }),
    /records\.jsonl:1: fields are "body", expected text/,
  ],
  [
    'a text that is no text',
    (p) => p.predict({ input: p.lines({ text: 3 }) }),
    /records\.jsonl:1: text is 3, expected a text/,
  ],
  [
    'an empty text',
    (p) => p.predict({ model: bundled.model, input: p.lines({ text: 'a' }, { text: '' }) }),
    /records\.jsonl:2: text is "", expected one that is not empty/,
  ],
  [
    'a blank text',
    (p) => p.predict({ model: bundled.model, input: p.lines({ text: ' \n ' }) }),
    /records\.jsonl:1: text is " \\n ", expected one that is not empty/,
  ],
  [
    'an empty text in a table',
    (p) => p.train('--model', bundled.model, '--train-file', p.file('t.tsv', 'sentence\tlabel\nfine\t1\n\t0\n')),
    /t\.tsv:3: text is "", expected one that is not empty/,
  ],
  [
    'text without a tokenizer',
    (p) => p.predict({ input: p.lines({ text: 'a' }) }),
    /records\.jsonl:1: text needs a tokenizer/,
  ],
  [
    'no ids',
    (p) => p.predict({ input: p.lines({ inputIds: [] }) }),
    /records\.jsonl:1: inputIds is empty, expected at least 1 token id/,
  ],
  [
    'an id outside the vocabulary',
    (p) => p.predict({ input: p.lines({ inputIds: [1] }, { inputIds: [5, 57] }) }),
    /records\.jsonl:2: inputIds has the token id 57, expected 0 to 56/,
  ],
  [
    'a negative id',
    (p) => p.predict({ input: p.lines({ inputIds: [-1] }) }),
    /records\.jsonl:1: inputIds\[0\] is -1, expected a whole number/,
  ],
  [
    'an id that is no number',
    (p) => p.predict({ input: p.lines({ inputIds: [1, 'x'] }) }),
    /records\.jsonl:1: inputIds\[1\] is "x", expected a whole number/,
  ],
  [
    'a row with too many columns',
    (p) => p.predict({ input: p.file('in.tsv', 'text\tlabel\na\t1\t2\n') }),
    /in\.tsv:2: 3 columns, expected 2/,
  ],
  [
    'a quote that does not end',
    (p) => p.predict({ input: p.file('in.csv', 'text,label\n"a,1\n') }),
    /in\.csv.*: invalid CSV/,
  ],
  [
    'text that is not UTF-8',
    (p) => p.predict({ input: p.file('in.jsonl', Uint8Array.of(0x7b, 0xff, 0xfe)) }),
    /in\.jsonl: expected UTF-8 text/,
  ],
  [
    'no label',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: 0 }, { inputIds: [1] })),
    /records\.jsonl:2: label is missing/,
  ],
  [
    'an unknown label',
    (p) => [
      'eval',
      '--model',
      named(p),
      '--valid-file',
      p.lines({ inputIds: [1], label: 'good' }, { inputIds: [1], label: 'meh' }),
    ],
    /records\.jsonl:2: label is "meh", expected one of "bad", "good"/,
  ],
  [
    'an unknown label in training',
    (p) => p.train('--model', named(p), '--train-file', p.lines({ inputIds: [1], label: 'meh' })),
    /records\.jsonl:1: label is "meh", expected one of "bad", "good"/,
  ],
  [
    'a label that the training file lacks',
    (p) => p.train('--valid-file', writeLines(join(p.folder, 'v.jsonl'), [{ inputIds: [1], label: 2 }])),
    /v\.jsonl:1: label is 2, expected 0 to 1/,
  ],
  [
    'a class number beyond the model’s',
    (p) => ['eval', '--model', RELU.model, '--valid-file', p.lines({ inputIds: [1], label: 2 })],
    /records\.jsonl:1: label is 2, expected 0 to 1/,
  ],
  [
    'more classes than the model’s head',
    (p) =>
      p.train(
        '--train-file',
        p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: 1 }, { inputIds: [1], label: 2 }),
      ),
    /classifier\.weight has shape \[2, 36\], expected \[3, 36\]/,
  ],
  [
    'names and numbers for labels',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: 'a' })),
    /records\.jsonl:2: label is "a", expected a number/,
  ],
  [
    'a negative label',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: -1 })),
    /records\.jsonl:2: label is -1, expected/,
  ],
  [
    'a label of the wrong type',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: [0] })),
    /records\.jsonl:1: label is \[0\], expected a number or the name/,
  ],
  [
    'a single class',
    (p) =>
      p.train(
        '--model',
        bundled.model,
        '--train-file',
        p.lines({ inputIds: [1], label: 'a' }, { inputIds: [2], label: 'a' }),
      ),
    /records\.jsonl: every label is "a", expected at least 2 classes/,
  ],
];

const OPTIONS: readonly Case[] = [
  ['an unknown command', () => ['trian'], /unknown command 'trian' \(Did you mean train\?\)/],
  ['an unknown option', (p) => [...p.train(), '--learning-rate', '1'], /unknown option '--learning-rate'/],
  ['a misspelled option', (p) => [...p.train(), '--sede', '1'], /unknown option '--sede' \(Did you mean --seed\?\)/],
  ['an argument too many', (p) => [...p.predict(), 'more'], /too many arguments/],
  [
    'no model',
    (p) => ['predict', '--input', 'a.jsonl', '--output', p.output],
    /required option '--model <dir>' not specified/,
  ],
  ['no output', () => ['train', '--model', RELU.model], /required option '--out <dir>' not specified/],
  ['no value', (p) => [...p.train(), '--lr'], /option '--lr <x>' argument missing/],
  [
    'no data',
    (p) => ['train', '--model', RELU.model, '--out', p.out],
    /no data given, expected --train-file FILE, or --task NAME --data DIR/,
  ],
  ['a task without its folder', (p) => p.train('--task', 'sst2'), /--task sst2 needs --data/],
  ['a folder without its task', (p) => p.train('--data', p.folder), /--data needs --task/],
  [
    'an unknown task',
    (p) => p.train('--task', 'sst3', '--data', p.folder),
    /task "sst3" is unknown, expected one of .*sst2/,
  ],
  [
    'a task and a file',
    (p) => [...p.train('--task', 'sst2', '--data', p.folder), '--train-file', 'x.csv'],
    /--task sst2 names its own files/,
  ],
  [
    'no validation data to compare on',
    (p) => [
      'compare',
      '--model',
      RELU.model,
      '--train-file',
      p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: 1 }),
      '--out',
      p.out,
    ],
    /a comparison needs validation data: --valid-file/,
  ],
  [
    'seeds that are no numbers',
    (p) => ['compare', ...p.train().slice(1), '--seeds', '0,x'],
    /--seeds.*'x' is not a number/,
  ],
  [
    'a number that is none',
    (p) => p.train('--lr', 'fast'),
    /'--lr <x>' argument 'fast' is invalid\. 'fast' is not a number/,
  ],
  ['a learning rate out of range', (p) => p.train('--lr', '-1'), /learningRate is -1, .*>=0/],
  ['a fraction of a step', (p) => p.train('--max-steps', '1.5'), /'1\.5' is not a whole number/],
  ['no epochs', (p) => p.train('--epochs', '0'), /epochs is 0, .*>0/],
  ['an empty batch', (p) => p.train('--batch-size', '0'), /batchSize is 0, .*>=1/],
  [
    'an empty batch in prediction',
    (p) => [...p.predict(), '--batch-size', '0'],
    /batchSize is 0, expected a whole number of at least 1/,
  ],
  ['a negative warm-up', (p) => p.train('--warmup', '-2'), /warmup is -2, .*>=0/],
  ['a fractional warm-up', (p) => p.train('--warmup', '2.5'), /warmup is 2\.5, expected whole steps, or a share/],
  [
    'an unknown schedule',
    (p) => p.train('--scheduler', 'cosin'),
    /scheduler is "cosin", expected one of linear, constant/,
  ],
  ['an unknown method', (p) => p.train('--method', 'lorra'), /method is "lorra", expected one of lora/],
  ['a rank of 0', (p) => p.train('--lora-r', '0'), /lora: r is 0, .*>=1/],
  ['a rank for a method without one', (p) => p.train('--method', 'head', '--lora-r', '4'), /head: .*"r"/],
  [
    'modules that the model lacks',
    (p) => p.train('--lora-target', 'q_proj'),
    /'q_proj' matches no linear layer of the model; it has attention\.self\.query/,
  ],
  [
    'a pattern that is none',
    (p) => p.train('--lora-target', '(query'),
    /targetModules: "\(query" is not a valid regular expression/,
  ],
  ['dropout of 1', (p) => p.train('--dropout', '1'), /dropout .*is 1, expected .*less than 1/],
  ['an unknown density loss', (p) => p.train('--density', 'l2'), /'--density <loss>' argument 'l2' is invalid/],
  [
    'tanh on elements',
    (p) => p.train('--density', 'tanh', '--density-form', 'element'),
    /form is 'element', expected 'feature-map' with loss 'tanh'/,
  ],
  ['a negative alpha', (p) => p.train('--density', 'tanh', '--alpha', '-0.1'), /alpha is -0\.1, .*>=0/],
  ['a steepness of 0', (p) => p.train('--density', 'tanh', '--beta', '0'), /beta is 0, .*>0/],
  ['a seed out of range', (p) => p.train('--seed', '4294967296'), /seed is 4294967296, .*<=4294967295/],
  [
    'an unknown backend',
    (p) => [...p.predict(), '--backend', 'cuda'],
    /'--backend <name>' argument 'cuda' is invalid\. Allowed choices are native, wasm/,
  ],
  [
    'too many threads',
    (p) => [...p.predict(), '--threads', '1000'],
    /threads is 1000, expected an integer from 1 to 256/,
  ],
  [
    'an unknown metric',
    (p) => ['eval', '--model', RELU.model, '--valid-file', p.lines({ inputIds: [1], label: 1 }), '--metric', 'bleurt'],
    /"bleurt" is unknown, expected one of accuracy/,
  ],
  [
    'nothing to measure the density of',
    () => ['density', '--model', RELU.model],
    /no data given, expected --input FILE/,
  ],
];

function folderCalled(place: Place, name: string): string {
  const path = join(place.folder, name);
  mkdirSync(path);
  return path;
}

function emptyModel(place: Place): string {
  const path = folderCalled(place, 'bare');
  writeFileSync(join(path, 'config.json'), readFileSync(join(RELU.model, 'config.json')));
  return path;
}

function withoutShard(place: Place): string {
  const path = join(place.folder, 'shards');
  const { model } = fixture('relu_f16');
  cpSync(model, path, { recursive: true, filter: (file) => !file.includes('00002-of') });
  return path;
}

function withConfig(place: Place, text: string): string {
  const model = modelWith(place.folder, 'relu', {});
  writeFileSync(join(model, 'config.json'), text);
  return model;
}

function named(place: Place): string {
  return modelWith(place.folder, 'relu', { id2label: { 0: 'bad', 1: 'good' } });
}

/** A copy of the adapter with fields of its config changed, and with other weights (none for null). */
function adapterWith(place: Place, config: Record<string, unknown>, weights?: Uint8Array | null): string {
  const path = folderCalled(place, 'changed-adapter');
  const text = readFileSync(join(RELU.adapter, 'adapter_config.json'), 'utf8');
  writeFileSync(
    join(path, 'adapter_config.json'),
    JSON.stringify({ ...(JSON.parse(text) as Record<string, unknown>), ...config }),
  );
  const own = weights === undefined ? readFileSync(join(RELU.adapter, 'adapter_model.safetensors')) : weights;
  if (own !== null) writeFileSync(join(path, 'adapter_model.safetensors'), own);
  return path;
}

/** Every file below a folder, with what it holds. */
function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    names
      .filter((name) => name.isFile())
      .map(({ parentPath, name }) => [join(parentPath, name), readFileSync(join(parentPath, name), 'base64')]),
  );
}

async function fails(t: ExecutionContext, args: readonly string[], message: RegExp): Promise<void> {
  const { stdout, stderr } = await runDeftune(t, args, { code: 1 });
  t.is(stdout, '');
  const lines = stderr.trimEnd().split('\n');
  // Notes and progress may come before it.
  const errors = lines.filter((line) => !/^(note: |(PEFT|DEFT|predict|eval|density) )/.test(line));
  t.is(errors.length, 1, stderr);
  t.is(errors[0], lines.at(-1));
  t.regex(errors[0] ?? '', message);
  t.true(errors[0]?.startsWith('error: '));
  t.true((errors[0]?.length ?? 0) < 1500, 'the line is too long to read');
}

for (const [kind, cases] of Object.entries({ FILES, CHECKPOINTS, CONFIGS, RECORDS, OPTIONS })) {
  for (const [what, args, message] of cases) {
    test(`${kind.toLowerCase()}: ${what}`, async (t) => {
      const place = new Place(temporaryFolder(t));
      const given = args(place);
      const before = contents(place.folder);
      await fails(t, given, message);
      t.deepEqual(contents(place.folder), before);
      t.false(existsSync(place.out));
    });
  }
}

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

test('--debug shows the stack', async (t) => {
  const place = new Place(temporaryFolder(t));
  const { stderr } = await runDeftune(t, [...place.predict({ model: join(place.folder, 'none') }), '--debug'], {
    code: 1,
  });
  t.regex(stderr, /^error: .*none\/config\.json: .*\n/);
  t.regex(stderr, /\n {4}at .*files-node/);
});
