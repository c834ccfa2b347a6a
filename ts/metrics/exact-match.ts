import { checkPairs } from './check-pairs.js';
import { normalizeAnswer } from './normalize-answer.js';

/**
 * Share of questions whose prediction equals one of the correct answers after normalisation, 0 to 1 (SQuAD v1.1's official script
 * prints it times 100).
 *
 * @param predictions texts, [n]; an undefined one counts as wrong
 * @param answers the correct answers of each question, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function exactMatch(
  predictions: readonly (string | undefined)[],
  answers: readonly (readonly string[])[],
): number {
  checkPairs('exactMatch', predictions, answers);
  const right = predictions.filter(
    (prediction, i) =>
      prediction !== undefined && answers[i]?.some((answer) => normalizeAnswer(answer) === normalizeAnswer(prediction)),
  );
  return right.length / answers.length;
}
