import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { parseJson } from '../../ts/io/parse-json.js';

test('what JSON.parse reads', (t) => {
  const text = '{"a": [{"a": 1, "b": "a\\"b\\\\"}, {"a": {}}], "b": {"a": "a", "c": ["b", "b"]}, "__proto__": 1}';
  t.deepEqual(parseJson(text, 'f'), JSON.parse(text));
  t.deepEqual(parseJson('"a:\\":"', 'f'), 'a:":');
  t.deepEqual(parseJson('["a" , "a" ]', 'f'), ['a', 'a']);
});

test('a key that an object has twice', (t) => {
  const rejects = (text: string, message: string, line = 1): unknown =>
    t.throws(() => parseJson(text, 'f', line), { instanceOf: DeftuneError, message });
  const twice = (key: string): string => `key "${key}" appears twice in one object, expected unique keys`;
  rejects('{"a":1,"a":1}', `f:1:8: ${twice('a')}`);
  rejects('{"a":1,\n "b":{"c":1, "c" : 2}}', `f:2:14: ${twice('c')}`);
  rejects('[{"text":"x","\\u0074ext":"y"}]', `f:7:14: ${twice('\\u0074ext')}`, 7);
  rejects('{"x:{\\"":1,"x:{\\"":1}', `f:1:12: ${twice('x:{\\"')}`);
  rejects('{"__proto__":1,"__proto__":1}', `f:1:16: ${twice('__proto__')}`);
  rejects('{"":1,"":1}', `f:1:7: ${twice('')}`);
});

test('a long document is read in little more time than JSON.parse takes', (t) => {
  const text = JSON.stringify(Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`key${i}`, `"${i}\\`])));
  const started = performance.now();
  t.is(Object.keys(parseJson(text, 'f') as object).length, 100_000);
  t.true(performance.now() - started < 5000);
});
