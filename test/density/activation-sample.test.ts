// The sample of a report is the model's own activations, binned.
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { activationMap } from '../../ts/density/activation-map.js';
import { sampleActivations } from '../../ts/density/activation-sample.js';
import { AutoModel } from '../../ts/models/auto-model-node.js';

const directory = fileURLToPath(new URL('../../assets/bert-mini-relu', import.meta.url));

test('tokens, neurons and magnitudes of the middle layer', async (t) => {
  const backend = await createBackend({ threads: 1 });
  const model = await AutoModel.fromPretrained(directory, { backend, head: 'SequenceClassification' });
  const tokenizer = await AutoTokenizer.fromPretrained(directory);
  const example = tokenizer.encode('a lovely film');
  const sample = await sampleActivations(model, example, tokenizer);
  const layer = activationMap(model, example, []).layers[1]!;
  t.like(sample, { layer: layer.name, neurons: 1536, stride: 6, density: layer.density });
  t.is(sample?.tokens[0], '[CLS]');
  t.is(sample?.tokens.length, example.inputIds.length);
  for (const [row, digits] of sample!.magnitudes.entries()) {
    t.is(digits.length, 256);
    for (const [column, digit] of [...digits].entries()) {
      const value = layer.values[row * 1536 + column * 6] as number;
      const size = Math.abs(value);
      const [from, to] = [2 ** (Number(digit) - 8), 2 ** (Number(digit) - 7)];
      const fits =
        digit === '0' ? value === 0 : (digit === '1' || size >= from) && (digit === '9' || size < to) && size > 0;
      if (!fits) t.fail(`${value} became ${digit}`);
    }
  }
  model.dispose();
});
