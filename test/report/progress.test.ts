import { Writable } from 'node:stream';
import test from 'ava';
import { formatCount, formatNumber, formatPercent, formatSeconds } from '../../ts/cli/ui/format.js';
import { createProgress } from '../../ts/cli/ui/progress.js';

function sink(isTTY: boolean): { stream: NodeJS.WritableStream; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  Object.assign(stream, { isTTY, columns: 160 });
  return { stream, text: () => text };
}

test('formats', (t) => {
  t.is(formatPercent(0.1234), '12.3 %');
  t.is(formatPercent(NaN), '–');
  t.is(formatSeconds(0.42), '0.4 s');
  t.is(formatSeconds(59.7), '1 m 00 s');
  t.is(formatSeconds(65), '1 m 05 s');
  t.is(formatSeconds(3599.6), '1 h 00 m');
  t.is(formatSeconds(3725), '1 h 02 m');
  t.is(formatCount(1234567), '1,234,567');
  t.is(formatNumber(0.693147), '0.6931');
  t.is(formatNumber(0.0000123), '1.23e-5');
  t.is(formatNumber(NaN), 'NaN');
});

test('without a terminal: ten plain lines for a thousand steps', (t) => {
  const { stream, text } = sink(false);
  const progress = createProgress(1000, { label: 'PEFT', stream });
  for (let step = 1; step <= 1000; step++) progress.update(step, { loss: 0.5, density: 0.1, tokensPerSecond: 1234 });
  progress.stop();
  progress.stop();
  const lines = text().trimEnd().split('\n');
  t.is(lines.length, 10);
  t.true(lines[0]!.startsWith('PEFT 100/1,000  loss 0.5000  density 10.0 %  1,234 tokens/s'));
  t.false(text().includes('\u001b'));
});

test('on a terminal: a bar that never hides the cursor nor switches off wrapping', (t) => {
  const { stream, text } = sink(true);
  const progress = createProgress(10, { label: 'DEFT', stream });
  progress.update(10, { loss: 0.25, metric: 0.9 });
  progress.stop();
  progress.update(10);
  progress.stop();
  t.true(text().includes('DEFT 10/10'));
  t.true(text().includes('loss 0.2500'));
  t.false(text().includes('\u001b[?25l'));
  t.false(text().includes('\u001b[?7l'));
});
