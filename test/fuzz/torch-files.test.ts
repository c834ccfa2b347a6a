// Files of torch.save: whatever stands in one, it is read as tensors or refused in one line, and nothing runs.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { unpickle } from '../../ts/io/pickle.js';
import { parseTorchFile } from '../../ts/io/torch-file.js';
import { readZip } from '../../ts/io/zip.js';
import { damaged, tryAll } from './mutations.js';

const path = fileURLToPath(new URL('../fixtures/adapters/bert_houlsby/adapter/pytorch_adapter.bin', import.meta.url));
const bytes = new Uint8Array(readFileSync(path));
const NOTHING = { callables: {}, values: {}, persistent: () => undefined };

test('damaged files', async (t) => {
  await tryAll(t, damaged(bytes), (input) => parseTorchFile(input, 'adapter.bin'));
});

test('damaged pickles', async (t) => {
  const entries = readZip(bytes, 'adapter.bin');
  const pickle = [...entries].find(([name]) => name.endsWith('data.pkl'))?.[1] as Uint8Array;
  const names = {
    callables: { 'collections.OrderedDict': () => new Map(), 'torch._utils._rebuild_tensor_v2': () => 0 },
    values: { 'torch.FloatStorage': 'F32' },
    persistent: () => 0,
  };
  await tryAll(t, damaged(pickle), (input) => unpickle(input, 'adapter.bin', names));
});

test('a pickle that names a function is refused before anything is called', (t) => {
  const hostile = [
    // os.system('true'), as GLOBAL and as STACK_GLOBAL
    '\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.',
    '\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.',
    '\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.',
    // Names that every JavaScript object has
    '\x80\x02cconstructor\nconstructor\n)R.',
    '\x80\x02c__proto__\nx\n)R.',
    // NEWOBJ, INST and others that make objects
    '\x80\x02(iposix\nsystem\n.',
    '\x80\x02)\x81.',
    // A call of what is no function
    '\x80\x02K\x01)R.',
    '\x80\x02}(K\x01u.',
    '\x80\x02',
    '',
  ];
  for (const text of hostile) {
    const error = t.throws(() => unpickle(Buffer.from(text, 'latin1'), 'adapter.bin', NOTHING), {
      instanceOf: DeftuneError,
    });
    t.regex(error?.message ?? '', /^adapter\.bin: the pickle /);
    t.notRegex(error?.message ?? '', /\n/);
  }
});
