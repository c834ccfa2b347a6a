import { DeftuneError } from '../error.js';
import { parseJson } from '../io/parse-json.js';
import { showValue } from '../io/show-value.js';
import type { RecordOptions } from './record-options.js';
import type { DataRecord } from './record.js';
import { toRecord } from './to-record.js';

/**
 * The records of a JSON file: SQuAD's `{"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}`, one a
 * question, or a list of objects, one each. Their number in the file stands for the line.
 *
 * @throws DeftuneError `path:number: …`, or `path: …` where the file has another form
 */
export function jsonRecords(text: string, path: string, options: RecordOptions = {}): DataRecord[] {
  const { columns, required, resolvePath } = options;
  const value = parseJson(text, path);
  const records: DataRecord[] = [];
  const add = (fields: Map<string, unknown>): void => {
    const line = records.length + 1;
    records.push(toRecord(fields, { place: `${path}:${line}`, line, columns, required, resolvePath }));
  };
  if (Array.isArray(value)) {
    value.forEach((item: unknown, i) => {
      add(new Map(Object.entries(object(item, `${path}:${i + 1}: the record`))));
    });
    return records;
  }
  const articles = list(object(value, `${path}: the file`, 'a list, or an object'), 'data', path);
  articles.forEach((article, a) => {
    const inArticle = `${path}: data[${a}]`;
    list(object(article, inArticle), 'paragraphs', inArticle).forEach((item, p) => {
      const inParagraph = `${inArticle}.paragraphs[${p}]`;
      const paragraph = object(item, inParagraph);
      list(paragraph, 'qas', inParagraph).forEach((qa, q) => {
        const fields = new Map(Object.entries(object(qa, `${inParagraph}.qas[${q}]`)));
        add(fields.set('context', paragraph['context']));
      });
    });
  });
  return records;
}

function object(value: unknown, place: string, expected = 'an object'): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DeftuneError(`${place} is ${showValue(value)}, expected ${expected}`);
  }
  return value as Record<string, unknown>;
}

function list(parent: Record<string, unknown>, field: string, place: string): unknown[] {
  const value = parent[field];
  if (!Array.isArray(value)) {
    throw new DeftuneError(
      `${place}${place.includes(': ') ? '.' : ': '}${field} is ${showValue(value)}, expected a list, as in SQuAD's files`,
    );
  }
  return value;
}
