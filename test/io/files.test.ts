import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { fileExists, readBytes, readJson, readText, writeFileAtomic } from '../../ts/io/files-node.js';

const dir = mkdtempSync(join(tmpdir(), 'deftune-files-'));
test.after.always(() => rmSync(dir, { recursive: true }));

test('a missing file, a folder and a file used as a folder are named', (t) => {
  const missing = join(dir, 'missing.json');
  for (const read of [readBytes, readText, readJson]) {
    t.is(
      t.throws(() => read(missing), { instanceOf: DeftuneError }).message,
      `${missing}: cannot read: no such file or folder`,
    );
    t.regex(t.throws(() => read(dir), { instanceOf: DeftuneError }).message, /it is a folder, expected a file/);
  }
  writeFileSync(join(dir, 'plain'), '');
  t.throws(() => readBytes(join(dir, 'plain', 'x')), { message: /a part of its path is not a folder/ });
  t.false(fileExists(missing));
  t.true(fileExists(dir));
});

test('reads bytes, text and JSON, with or without a byte order mark', (t) => {
  const path = join(dir, 'a.json');
  writeFileSync(path, '\ufeff{"a": "é"}');
  t.is(readBytes(path).length, 14);
  t.is(readBytes(path).byteOffset, 0);
  t.is(readText(path), '{"a": "é"}');
  t.deepEqual(readJson(path), { a: 'é' });
  writeFileSync(path, new Uint8Array([0xff, 0xfe]));
  t.throws(() => readText(path), { message: `${path}: expected UTF-8 text, found other bytes` });
});

const broken: [text: string, place: string, what: RegExp][] = [
  ['', '1:1', /ends too early/],
  ['{"a": 1,\n "b": }', '2:7', /unexpected "\}"/],
  ['{\n  abc\n}', '2:3', /unexpected "abc\\n\}"/],
  ['[1, 2', '1:6', /ends too early/],
  ['[1, 2,]', '1:7', /unexpected "\]"/],
  ['{"a" 1}', '1:6', /unexpected "1\}"/],
  ['{} x', '1:4', /unexpected "x"/],
  ['"a\nb"', '1:3', /unexpected "\\nb/],
  ['{"a": "\\x"}', '1:8', /unexpected/],
  ['["' + '\\n'.repeat(5_000_000) + '",]', '1:10000005', /unexpected "\]"/],
];

for (const [text, place, what] of broken) {
  test(`invalid JSON is located: ${JSON.stringify(text.slice(0, 20))}`, (t) => {
    const path = join(dir, `broken-${broken.findIndex(([other]) => other === text)}.json`);
    writeFileSync(path, text);
    const error = t.throws(() => readJson(path), { instanceOf: DeftuneError });
    t.true(error.message.startsWith(`${path}:${place}: invalid JSON`), error.message);
    t.regex(error.message, what);
    t.false(error.message.includes('\n'));
  });
}

test('writes atomically and leaves no temporary file, even on failure', (t) => {
  const home = join(dir, 'atomic');
  mkdirSync(home);
  writeFileAtomic(join(home, 'a'), 'é');
  writeFileAtomic(join(home, 'a'), new Uint8Array([1, 2]));
  t.deepEqual([...readFileSync(join(home, 'a'))], [1, 2]);
  mkdirSync(join(home, 'folder'));
  writeFileSync(join(home, 'folder', 'x'), '');
  t.throws(() => writeFileAtomic(join(home, 'folder'), 'x'), { instanceOf: DeftuneError, message: /cannot write/ });
  t.throws(() => writeFileAtomic(join(home, 'none', 'x'), 'x'), {
    message: /none.x: cannot write: no such file or folder/,
  });
  t.deepEqual(readdirSync(home).sort(), ['a', 'folder']);
});
