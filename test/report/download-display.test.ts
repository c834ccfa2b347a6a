import { Writable } from 'node:stream';
import test from 'ava';
import { createDownloadDisplay } from '../../ts/cli/ui/download-display.js';

function sink(): { stream: Writable; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      text += chunk.toString();
      done();
    },
  });
  return { stream, text: () => text };
}

const progress = (loaded: number, total = 100e6) => ({
  repository: 'org/model',
  file: 'model.safetensors',
  loaded,
  total,
});

test('a download is shown from its third second on, with what is left', (t) => {
  const { stream, text } = sink();
  let time = 0;
  const display = createDownloadDisplay(stream, () => time);
  display.update(progress(50e6));
  t.is(text(), '');
  time = 2500;
  for (let loaded = 50e6; loaded <= 100e6; loaded += 1e6) display.update(progress(loaded));
  display.stop();
  t.regex(text(), /^downloading org\/model, MB: 5\/50 .* left\n/);
  t.true(text().includes('downloading org/model, MB: 50/50'));
});

test('a quick one is not shown; one that grows starts again', (t) => {
  const quick = sink();
  const display = createDownloadDisplay(quick.stream, () => 0);
  display.update(progress(1e6));
  display.update(progress(100e6));
  display.stop();
  t.is(quick.text(), '');

  const { stream, text } = sink();
  let time = 0;
  const growing = createDownloadDisplay(stream, () => time);
  time = 3000;
  growing.update(progress(0, 10e6));
  growing.update(progress(10e6, 10e6));
  growing.update(progress(10e6, 40e6));
  growing.update(progress(25e6, 40e6));
  growing.stop();
  t.regex(text(), /MB: 10\/10[^]*MB: 15\/30/);
});
