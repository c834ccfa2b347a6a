import { collate, IGNORED_LABEL } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { checkIds, encodeText } from './encode-text.js';
import type { Head } from './head.js';
import { labelledRows, languageModel } from './language-model.js';

/** Predicts each next token. The label of a position is the token after it; without `labelIds` every token but the first is one. */
export const causalLM: Head = {
  ...languageModel,
  name: 'CausalLM',
  taskType: 'CAUSAL_LM',

  toExamples(record, _label, context) {
    const example = encodeText(record, context);
    const { info, where } = context;
    if (record.labelIds && record.labelIds.length !== (record.inputIds?.length ?? example.inputIds.length)) {
      throw new DeftuneError(
        `${where}: labelIds has ${record.labelIds.length} elements, expected ${example.inputIds.length} as in inputIds`,
      );
    }
    const labelIds = record.labelIds?.slice(0, example.inputIds.length) ?? Array.from(example.inputIds);
    checkIds(labelIds, 'labelIds', info.vocabSize, where, { ignored: IGNORED_LABEL });
    return [{ inputIds: example.inputIds, labelIds }];
  },

  toPrompt: (record, context) => encodeText(record, context).inputIds,

  collate(examples) {
    const batch = collate(examples);
    const labelOf = (example: number, position: number): number =>
      examples[example]?.labelIds?.[position + 1] ?? IGNORED_LABEL;
    return { ...batch, ...labelledRows(batch.cuSeqlens, labelOf) };
  },
};
