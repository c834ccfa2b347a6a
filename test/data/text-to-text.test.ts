import test from 'ava';
import { textToText } from '../../ts/data/text-to-text.js';
import { getTask } from '../../ts/data/tasks/index.js';

const pair = { text: 'One.', textPair: 'Two.', line: 1 };

test("classes in T5's words", (t) => {
  t.deepEqual(textToText(getTask('sst2'), { text: 'a joy', line: 1 }, 1), {
    text: 'sst2 sentence: a joy',
    target: 'positive',
  });
  t.is(textToText(getTask('mnli'), pair, 2).text, 'mnli hypothesis: Two. premise: One.');
  t.is(textToText(getTask('qnli'), pair, 1).target, 'not_entailment');
  t.is(textToText(getTask('mrpc'), pair).text, 'mrpc sentence1: One. sentence2: Two.');
  t.false('target' in textToText(getTask('mrpc'), pair));
});

test('scores go to multiples of 0.2, halves to the even one', (t) => {
  const target = (label: number): string | undefined => textToText(getTask('stsb'), pair, label).target;
  t.is(target(3.8), '3.8');
  t.is(target(3.75), '3.8');
  t.is(target(5), '5.0');
  t.is(target(0), '0.0');
  t.is(target(0.5), '0.4');
  t.is(target(0.7), '0.8');
});

test('questions and answers', (t) => {
  const record = {
    question: 'Who?',
    context: 'Bob won.',
    answers: [{ text: 'Bob', start: 0 }, { text: 'B' }],
    line: 1,
  };
  t.deepEqual(textToText(getTask('squad'), record), { text: 'question: Who? context: Bob won.', target: 'Bob' });
});

test("a record's own target counts", (t) => {
  t.is(textToText(getTask('sst2'), { text: 'a', target: 'good', line: 1 }, 1).target, 'good');
  t.deepEqual(textToText({ kind: 'classification', labelNames: [] }, { text: 'a', line: 1 }), { text: 'a' });
});
