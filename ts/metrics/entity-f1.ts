import { checkPairs } from './check-pairs.js';

/** Precision, recall and F1 of entities, each 0 to 1; 0 where there is nothing to divide by. */
export interface EntityScores {
  precision: number;
  recall: number;
  f1: number;
}

/**
 * Scores tag sequences by whole entities, as seqeval and conlleval do: an entity counts if its type and both its ends are right, and
 * all entities count alike (micro average). Tags are `B-TYPE`, `I-TYPE` and `O`; an `I-` that continues nothing starts an entity.
 * `E-` and `S-` of the IOBES scheme end one. For tags without such prefixes use tokenAccuracy.
 *
 * @param predictions tags of each sequence, [n][tokens]
 * @param labels as many, [n][tokens]
 * @throws DeftuneError when the lengths differ or there are no sequences
 */
export function entityScores(
  predictions: readonly (readonly string[])[],
  labels: readonly (readonly string[])[],
): EntityScores {
  checkPairs('entityF1', predictions, labels);
  let predicted = 0;
  let actual = 0;
  let right = 0;
  labels.forEach((sequence, i) => {
    const tags = predictions[i] ?? [];
    checkPairs(`entityF1 of sequence ${i}`, tags, sequence);
    const found = entities(tags);
    const wanted = entities(sequence);
    predicted += found.size;
    actual += wanted.size;
    for (const entity of found) if (wanted.has(entity)) right += 1;
  });
  const precision = predicted === 0 ? 0 : right / predicted;
  const recall = actual === 0 ? 0 : right / actual;
  const f1 = precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall);
  return { precision, recall, f1 };
}

/** F1 of entityScores. */
export function entityF1(predictions: readonly (readonly string[])[], labels: readonly (readonly string[])[]): number {
  return entityScores(predictions, labels).f1;
}

/** Entities as `type start end`, a set because one sequence has each at most once. */
function entities(tags: readonly string[]): Set<string> {
  const found = new Set<string>();
  let previousTag = 'O';
  let previousType = '';
  let begin = 0;
  [...tags, 'O'].forEach((name, i) => {
    const tag = name.charAt(0);
    const dash = name.indexOf('-');
    const type = dash < 0 ? '_' : name.slice(dash + 1);
    if (ends(previousTag, tag, previousType, type)) found.add(`${previousType} ${begin} ${i - 1}`);
    if (starts(previousTag, tag, previousType, type)) begin = i;
    previousTag = tag;
    previousType = type;
  });
  return found;
}

// The two rules of conlleval.pl (CoNLL-2000 shared task).
function ends(previous: string, tag: string, previousType: string, type: string): boolean {
  if (previous === 'E' || previous === 'S') return true;
  if ((previous === 'B' || previous === 'I') && (tag === 'B' || tag === 'S' || tag === 'O')) return true;
  return previous !== 'O' && previous !== '.' && previousType !== type;
}

function starts(previous: string, tag: string, previousType: string, type: string): boolean {
  if (tag === 'B' || tag === 'S') return true;
  if ((previous === 'E' || previous === 'S' || previous === 'O') && (tag === 'E' || tag === 'I')) return true;
  return tag !== 'O' && tag !== '.' && previousType !== type;
}
