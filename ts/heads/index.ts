import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { causalLM } from './causal-lm.js';
import type { Head } from './head.js';
import { imageClassification } from './image-classification.js';
import { maskedLM } from './masked-lm.js';
import { questionAnswering } from './question-answering.js';
import { seq2seqLM } from './seq2seq-lm.js';
import { sequenceClassification } from './sequence-classification.js';
import { tokenClassification } from './token-classification.js';

/** Every head, in the order of the documentation. */
export const HEADS: readonly Head[] = [
  sequenceClassification,
  tokenClassification,
  questionAnswering,
  maskedLM,
  causalLM,
  seq2seqLM,
  imageClassification,
];

/** The head called `name`. @throws DeftuneError listing the known ones. */
export function getHead(name: string): Head {
  const head = HEADS.find((candidate) => candidate.name === name);
  if (head) return head;
  const known = HEADS.map((candidate) => candidate.name).join(', ');
  throw new DeftuneError(`head is ${showValue(name)}, expected one of ${known}`);
}
