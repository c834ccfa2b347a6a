import test from 'ava';
import { compareMarkdown, compareTable } from '../../ts/report/compare-table.js';
import { headline } from '../../ts/report/report.js';
import { run, sample } from './sample.js';

const two = sample({
  model: 'a|b\u001b[31m',
  runs: [
    run('PEFT', 1, { metric: 0.9, density: 0.5, seconds: 10 }),
    run('DEFT', 1, { metric: 0.8, density: 0.25, seconds: 12 }),
    run('PEFT', 2, { metric: 0.92, density: 0.5, seconds: 10 }),
    run('DEFT', 2, { metric: 0.8, density: 0.125, seconds: 12 }),
  ],
});

test('terminal table', (t) => {
  const lines = compareTable(two).split('\n');
  const peft = lines.find((l) => l.includes('PEFT '))!;
  const deft = lines.find((l) => l.includes('DEFT '))!;
  t.true(peft.includes('91.00 ± 1.41'));
  t.true(peft.includes('50.00 ± 0.00'));
  // 50 % and 75 %
  t.true(deft.includes('62.50 ± 17.68'));
  t.true(deft.includes('12.0 ± 0.0'));
  t.true(lines.some((l) => l.includes('LoRA r 8')));
  t.false(compareTable(two).includes('\u001b'));
});

test('Markdown table, with pipes and tags escaped', (t) => {
  const text = compareMarkdown(two);
  t.true(text.includes('| DEFT | 80.00 ± 0.00 | 18.75 ± 8.84 | 62.50 ± 17.68 | 12.0 ± 0.0 | 2 |'));
  t.true(text.includes('a\\|b'));
  t.false(text.includes('<script>'));
});

test('one seed and a missing variant', (t) => {
  const text = compareMarkdown(sample({ runs: [run('DEFT', 1, { metric: 0.8, density: 0.25, seconds: 12 })] }));
  t.true(text.includes('| DEFT | 80.00 | 25.00 | – | 12.0 | 1 |'));
  t.true(text.includes('**Warning:** No PEFT run'));
});

test('a sweep: a row for each alpha, its change against PEFT', (t) => {
  const runs = [
    run('PEFT', 1, { metric: 0.9, density: 0.5, seconds: 1 }),
    run('DEFT', 1, { metric: 0.8, density: 0.25, seconds: 1, alpha: 0.1 }),
    run('DEFT', 1, { metric: 0.7, density: 0.05, seconds: 1, alpha: 1, warnings: ['collapsed'] }),
  ];
  const text = compareMarkdown(sample({ runs }));
  t.true(text.includes('| DEFT, alpha 0.1 | 80.00 | 25.00 | 50.00 | 1.0 | 1 |'));
  t.true(text.includes('| DEFT, alpha 1 | 70.00 | 5.00 | 90.00 | 1.0 | 1 |'));
  t.true(text.includes('DEFT, alpha 1, seed 1: collapsed'));
  t.is(
    headline(sample({ runs })),
    'PEFT: 90.0 % accuracy at 50.00 % density; DEFT, alpha 0.1: 80.0 % accuracy at 25.00 % density; DEFT, alpha 1: 70.0 % accuracy at 5.00 % density.',
  );
});
