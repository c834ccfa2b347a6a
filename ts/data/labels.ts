import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { DataRecord } from './record.js';

/** The labels of a file as numbers, one a record. */
export interface ResolvedLabels {
  /** Class indexes, or regression targets. */
  labels: number[];
  /** Class names by index; empty for regression. */
  names: string[];
  /** Whether the labels are values instead of classes. */
  regression: boolean;
}

/**
 * Turns the labels of records into class indexes or regression targets.
 *
 * - Whole numbers are class indexes. Without known names they must use every class 0..n-1 (a gap is
 *   nearly always a mistake), and the classes are called LABEL_0, LABEL_1, ….
 * - Names are looked up in the known ones; without any, the classes are the names found, sorted.
 * - If any label has a fraction, all are regression targets.
 *
 * @param records the file's records, every one with a label
 * @param fileName for messages
 * @param known the result for the training file when resolving a validation file; or a list of names;
 *   or a config's `id2label`. If that holds only the default LABEL_0, LABEL_1, …, the names count as unknown and only their number
 *   is kept: that many classes at least, and one means regression (as in transformers)
 * @throws DeftuneError `file:line: label …` for a missing, mixed, unknown or out-of-range label
 */
export function resolveLabels(
  records: readonly DataRecord[],
  fileName: string,
  known?: Readonly<Record<string, string>> | readonly string[] | ResolvedLabels,
): ResolvedLabels {
  const given = knownLabels(known, fileName);
  let textual: DataRecord | undefined;
  let numeric: DataRecord | undefined;
  for (const record of records) {
    if (record.label === undefined) {
      throw new DeftuneError(`${fileName}:${record.line}: label is missing, expected a number or the name of a class`);
    }
    if (typeof record.label === 'string') textual ??= record;
    else numeric ??= record;
  }
  if (textual && numeric) {
    throw new DeftuneError(
      `${fileName}:${textual.line}: label is ${showValue(textual.label)}, expected a number as on line ${numeric.line} (${showValue(numeric.label)}); use either numbers or names`,
    );
  }
  if (textual) return fromNames(records, fileName, given);
  const fraction = records.some(({ label }) => !Number.isInteger(label));
  if (given.regression || (fraction && given.names === undefined)) {
    return { labels: records.map(({ label }) => label as number), names: [], regression: true };
  }
  return fromIndexes(records, fileName, given);
}

type Known = { names: string[] | undefined; atLeast: number; regression: boolean };

function knownLabels(known: Parameters<typeof resolveLabels>[2], fileName: string): Known {
  if (known === undefined) return { names: undefined, atLeast: 0, regression: false };
  if (isResolved(known)) {
    const { names, regression } = known;
    return { names: regression ? undefined : names, atLeast: 0, regression };
  }
  const names = Array.isArray(known)
    ? [...(known as readonly string[])]
    : namesOf(known as Record<string, string>, fileName);
  const isDefault = !Array.isArray(known) && names.every((name, i) => name === `LABEL_${i}`);
  if (names.length > 0 && !isDefault) return { names, atLeast: 0, regression: false };
  return { names: undefined, atLeast: names.length, regression: names.length === 1 };
}

function isResolved(known: object): known is ResolvedLabels {
  return 'labels' in known && Array.isArray(known.labels);
}

function namesOf(id2label: Record<string, string>, fileName: string): string[] {
  return Object.keys(id2label).map((_, i) => {
    const name = id2label[String(i)];
    if (name === undefined) {
      throw new DeftuneError(
        `${fileName}: id2label has the keys ${Object.keys(id2label).join(', ')}, expected 0, 1, … without a gap`,
      );
    }
    return name;
  });
}

function fromNames(records: readonly DataRecord[], fileName: string, given: Known): ResolvedLabels {
  const first = records[0];
  if (given.regression && first) {
    throw new DeftuneError(
      `${fileName}:${first.line}: label is ${showValue(first.label)}, expected a number as in the training file`,
    );
  }
  const names = given.names ?? [...new Set(records.map(({ label }) => label as string))].sort();
  const indexes = new Map(names.map((name, i) => [name, i]));
  const labels = records.map(({ label, line }) => {
    const index = indexes.get(label as string);
    if (index === undefined) {
      throw new DeftuneError(`${fileName}:${line}: label is ${showValue(label)}, expected one of ${list(names)}`);
    }
    return index;
  });
  return { labels, names, regression: false };
}

function fromIndexes(records: readonly DataRecord[], fileName: string, { names, atLeast }: Known): ResolvedLabels {
  const used = new Set<number>();
  let largest: DataRecord | undefined;
  for (const record of records) {
    const label = record.label as number;
    const fits = Number.isInteger(label) && label >= 0 && (names === undefined || label < names.length);
    if (!fits) {
      const allowed = names ? `0 to ${names.length - 1} (${list(names)})` : 'a class index of at least 0';
      throw new DeftuneError(`${fileName}:${record.line}: label is ${showValue(label)}, expected ${allowed}`);
    }
    used.add(label);
    if (largest === undefined || label > (largest.label as number)) largest = record;
  }
  const highest = (largest?.label ?? -1) as number;
  if (names === undefined && largest) {
    let unused = atLeast;
    while (used.has(unused)) unused += 1;
    if (unused < highest) {
      throw new DeftuneError(
        `${fileName}:${largest.line}: label is ${showValue(highest)}, expected classes numbered from 0 without a gap, but no record has label ${unused}`,
      );
    }
  }
  return {
    labels: records.map(({ label }) => label as number),
    names: names ?? Array.from({ length: Math.max(atLeast, highest + 1) }, (_, i) => `LABEL_${i}`),
    regression: false,
  };
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 20).map(showValue).join(', ');
  return names.length > 20 ? `${shown}, … (${names.length} in all)` : shown;
}
