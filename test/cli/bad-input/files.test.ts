// Files and folders that are missing, of another kind, or not to be written to.
import { join } from 'node:path';
import { RELU } from './place.js';
import { refused } from './refused.js';

refused('files', [
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
    (p) => p.predict({ input: p.folderCalled('in.jsonl') }),
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
    (p) => p.predict({ adapter: p.adapterWith({}, null) }),
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
    (p) => p.predict({ output: p.folderCalled('o.jsonl') }),
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
    (p) => p.train('--log', p.folderCalled('log')),
    /log: cannot write: it is a folder, expected a file/,
  ],
  [
    'a file for the report’s folder',
    (p) => ['demo', '--out', p.file('taken', 'x')],
    /taken: cannot write: .*expected a folder/,
  ],
]);
