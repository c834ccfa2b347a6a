// The names and layouts that checkpoints of RoBERTa and GPT-2 have in the wild give the same model.
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import type { Model } from '../../ts/models/model.js';
import { scope } from '../../ts/tensor/scope.js';
import { FamilyFixture, type Tensors } from './heads-fixture.js';

const FAMILIES = {
  roberta: { fixture: new FamilyFixture('roberta'), head: 'MaskedLM', prefix: 'roberta.' },
  gpt2: { fixture: new FamilyFixture('gpt2'), head: 'CausalLM', prefix: 'transformer.' },
};
const backend: Backend = await createBackend({ backend: 'native', threads: 1 });

type Tensor = Tensors extends Map<string, infer T> ? T : never;

/** Logits of the batch without labels' positions: of every token. */
function logitsOf(model: Model, fixture: FamilyFixture): number[] {
  const batch = model.head.collate(
    fixture.expected.data.inputIds.map((inputIds) => ({ inputIds, labelIds: inputIds })),
    { info: model.info },
  );
  return scope(backend, () => Array.from(model.forward(batch, new ForwardContext()).toFloats()));
}

function rename(tensors: Tensors, from: RegExp, to: string): Tensors {
  return new Map([...tensors].map(([name, tensor]) => [name.replace(from, to), tensor]));
}

/** float16 as float32, or cut down to bfloat16. */
function converted(tensor: Tensor, dtype: 'F32' | 'BF16'): Tensor {
  const halves = new Uint16Array(Uint8Array.from(tensor.data).buffer);
  const floats = Float32Array.from(halves, (bits) => {
    const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  });
  const words = new Uint32Array(floats.buffer);
  const stored = dtype === 'F32' ? words : Uint16Array.from(words, (bits) => bits >>> 16);
  return { ...tensor, dtype, data: new Uint8Array(stored.buffer) };
}

const extra = (shape: number[]): Tensor => ({
  dtype: 'F16',
  shape,
  data: new Uint8Array(2 * shape.reduce((a, b) => a * b, 1)).fill(60),
});

function same(t: ExecutionContext, actual: readonly number[], expected: readonly number[], what: string): void {
  t.is(actual.length, expected.length, what);
  t.true(
    actual.every((value, index) => value === expected[index]),
    what,
  );
}

for (const [name, { fixture, head, prefix }] of Object.entries(FAMILIES)) {
  const expected = logitsOf(fixture.open(backend, head), fixture);
  const variant = (edit: (tensors: Tensors) => Tensors): number[] =>
    logitsOf(fixture.open(backend, head, { edit }), fixture);

  test(`${name}: without its prefix`, (t) => {
    same(
      t,
      variant((tensors) => rename(tensors, new RegExp(`^${prefix.replace('.', '\\.')}`), '')),
      expected,
      'no prefix',
    );
  });

  test(`${name}: in float32 and bfloat16`, (t) => {
    const all = (dtype: 'F32' | 'BF16') => (tensors: Tensors) =>
      new Map([...tensors].map(([key, tensor]) => [key, converted(tensor, dtype)]));
    same(t, variant(all('F32')), expected, 'F32');
    const cut = variant(all('BF16'));
    t.true(cut.every((value, index) => Math.abs(value - (expected[index] as number)) < 0.2));
    t.notDeepEqual(cut, expected);
  });

  test(`${name}: a new head is announced, a missing tensor is an error`, (t) => {
    const notices: string[] = [];
    const bare = (tensors: Tensors): Tensors => new Map([...tensors].filter(([key]) => key.startsWith(prefix)));
    fixture.open(backend, 'SequenceClassification', {
      edit: bare,
      options: { onNotice: (notice: string) => notices.push(notice) },
    });
    const parts =
      name === 'gpt2'
        ? 'score.weight'
        : 'classifier.dense.weight, classifier.dense.bias, classifier.out_proj.weight, classifier.out_proj.bias';
    t.deepEqual(notices, [`newly initialized (train before use): ${parts}`]);
    const [lost = ''] = [...fixture.tensors.keys()].filter((key) => key.startsWith(`${prefix}`));
    t.throws(
      () =>
        fixture.open(backend, head, {
          edit: (tensors) => new Map([...tensors].filter(([key]) => key !== lost)),
        }),
      { message: new RegExp(`${lost.replaceAll('.', '\\.')} is missing`) },
    );
    t.throws(() => fixture.open(backend, head, { edit: (tensors) => new Map(tensors).set('x.y', extra([1])) }), {
      message: new RegExp(`${prefix.replace('.', '\\.')}x\\.y is unexpected`),
    });
  });
}

test('roberta: buffers, the pooler, and the decoder that is the embeddings', (t) => {
  const { fixture, head } = FAMILIES.roberta;
  const expected = logitsOf(fixture.open(backend, head), fixture);
  const edit = (tensors: Tensors): Tensors =>
    new Map([
      ...[...tensors].filter(([key]) => key !== 'lm_head.bias'),
      ['roberta.embeddings.position_ids', { dtype: 'I64', shape: [1, 1], data: new Uint8Array(8) } as Tensor],
      ['roberta.pooler.dense.weight', extra([36, 36])],
      ['roberta.pooler.dense.bias', extra([36])],
      ['lm_head.decoder.weight', extra([57, 36])],
      ['lm_head.decoder.bias', tensors.get('lm_head.bias') as Tensor],
    ]);
  same(t, logitsOf(fixture.open(backend, head, { edit }), fixture), expected, 'decoder.bias');
  t.throws(() => fixture.open(backend, head, { config: { tie_word_embeddings: false } }), {
    message: /tie_word_embeddings is false, expected true/,
  });
  for (const [modelType, architecture] of [
    ['xlm-roberta', 'XLMRobertaForMaskedLM'],
    ['camembert', 'CamembertForMaskedLM'],
  ] as const) {
    const model = fixture.open(backend, head, { config: { model_type: modelType } });
    t.is(model.info.architecture, architecture);
    same(t, logitsOf(model, fixture), expected, `${modelType}`);
  }
  t.is(fixture.open(backend, head).info.maxLength, 25);
});

test('gpt2: buffers, a stored copy of the tied head, and a head of its own', (t) => {
  const { fixture, head } = FAMILIES.gpt2;
  const expected = logitsOf(fixture.open(backend, head), fixture);
  const wte = fixture.tensors.get('transformer.wte.weight') as Tensor;
  const withBuffers = (tensors: Tensors): Tensors =>
    new Map([
      ...tensors,
      ['transformer.h.0.attn.bias', extra([1, 1, 25, 25])],
      ['transformer.h.1.attn.masked_bias', extra([])],
      ['lm_head.weight', wte],
    ]);
  same(t, logitsOf(fixture.open(backend, head, { edit: withBuffers }), fixture), expected, 'buffers');
  // The same without the prefix: how the first checkpoints of GPT-2 are.
  const bare = (tensors: Tensors): Tensors => rename(withBuffers(tensors), /^transformer\./, '');
  same(t, logitsOf(fixture.open(backend, head, { edit: bare }), fixture), expected, 'bare');

  // Half of each weight is exact: one less in the exponent.
  const halved = converted(wte, 'F32');
  const values = new Float32Array(halved.data.buffer).map((value) => value / 2);
  const own: Tensor = { ...halved, data: new Uint8Array(values.buffer) };
  const untied = fixture.open(backend, head, {
    config: { tie_word_embeddings: false },
    edit: (tensors) => new Map(tensors).set('lm_head.weight', own),
  });
  logitsOf(untied, fixture).forEach((value, index) => {
    t.true(Math.abs(value - (expected[index] as number) / 2) < 1e-5);
  });
});
