import { checkPairs } from './check-pairs.js';
import { answerTokens } from './normalize-answer.js';

/**
 * Mean over the questions of the best F1 of the prediction's tokens with those of a correct answer, 0 to 1 (SQuAD v1.1's official
 * script prints it times 100). Two empty token lists have F1 0, as there.
 *
 * @param predictions texts, [n]; an undefined one counts 0
 * @param answers the correct answers of each question, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function answerF1(
  predictions: readonly (string | undefined)[],
  answers: readonly (readonly string[])[],
): number {
  checkPairs('answerF1', predictions, answers);
  let sum = 0;
  predictions.forEach((prediction, i) => {
    if (prediction === undefined) return;
    const tokens = answerTokens(prediction);
    sum += (answers[i] ?? []).reduce((best, answer) => Math.max(best, tokenF1(tokens, answerTokens(answer))), 0);
  });
  return sum / answers.length;
}

/** F1 of two bags of tokens: a token counts as often as both have it. */
function tokenF1(predicted: readonly string[], actual: readonly string[]): number {
  const left = new Map<string, number>();
  for (const token of actual) left.set(token, (left.get(token) ?? 0) + 1);
  let same = 0;
  for (const token of predicted) {
    const count = left.get(token) ?? 0;
    if (count === 0) continue;
    same += 1;
    left.set(token, count - 1);
  }
  if (same === 0) return 0;
  const precision = same / predicted.length;
  const recall = same / actual.length;
  return (2 * precision * recall) / (precision + recall);
}
