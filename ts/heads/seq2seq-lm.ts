import { collate, IGNORED_LABEL } from '../data/batching.js';
import { resolveLabels } from '../data/labels.js';
import type { DataRecord } from '../data/record.js';
import { textToText, type TaskWords } from '../data/text-to-text.js';
import { DeftuneError } from '../error.js';
import { checkIds, encodeText, textLimit } from './encode-text.js';
import type { ExampleContext, Head } from './head.js';
import { labelledRows, languageModel } from './language-model.js';
import {
  comparesTexts,
  scoreTexts,
  textWarnings,
  tokensToGenerate,
  usualMetrics,
  type AnswerKey,
  type TextExample,
} from './text-answer.js';

/** Records that no task puts into words: their own text and target. */
const NO_TASK: TaskWords = { kind: 'classification', labelNames: [] };

/**
 * Turns a text into another: an encoder reads `text` or `inputIds`, a decoder is taught `target` or `labelIds`. Records of a task, with
 * classes, values or answers, are put into words first; they are then judged by the texts that the model writes.
 */
export const seq2seqLM: Head = {
  ...languageModel,
  name: 'Seq2SeqLM',
  taskType: 'SEQ_2_SEQ_LM',

  resolveLabels(records, fileName, known) {
    const [first] = records;
    const isInWords = [first?.target, first?.labelIds, first?.answers].some((field) => field !== undefined);
    if (isInWords || first?.label === undefined) return languageModel.resolveLabels();
    return resolveLabels(records, fileName, known);
  },

  toExamples(record, label, context): TextExample[] {
    const { tokenizer, info, where, onTruncated, task = NO_TASK } = context;
    const { target } = textToText(task, record, label);
    const inputIds = toPrompt(record, context);
    let { labelIds } = record;
    if (!labelIds && target !== undefined) {
      if (!tokenizer) throw new DeftuneError(`${where}: target needs a tokenizer, but the model's directory has none`);
      const encoded = tokenizer.encode(target, { maxLength: textLimit(info, tokenizer) });
      if (encoded.truncated) onTruncated();
      labelIds = encoded.inputIds;
    }
    if (!labelIds?.length) throw new DeftuneError(`${where}: labelIds is missing, expected labelIds or a target text`);
    checkIds(labelIds, 'labelIds', info.vocabSize, where, { ignored: IGNORED_LABEL });
    const answer = answerKey(record, label, target, context);
    return [{ inputIds, labelIds, ...(label === undefined ? {} : { label }), ...(answer ? { answer } : {}) }];
  },

  toPrompt,

  /** The decoder reads the labels one position late, after its start token (teacher forcing). */
  collate(examples, { info }) {
    const batch = collate(examples.map(({ inputIds }) => ({ inputIds })));
    const { decoderStartTokenId: start, padTokenId = 0 } = info;
    if (start === undefined) {
      throw new DeftuneError('config.json: decoder_start_token_id is missing, expected the first token of a target');
    }
    const decoder = collate(
      examples.map(({ labelIds = [] }) => {
        const ids = Array.from(labelIds, (id) => (id === IGNORED_LABEL ? padTokenId : id));
        return { inputIds: [start, ...ids.slice(0, -1)] };
      }),
    );
    const labelOf = (example: number, position: number): number =>
      examples[example]?.labelIds?.[position] ?? IGNORED_LABEL;
    return {
      ...batch,
      ...labelledRows(decoder.cuSeqlens, labelOf),
      decoder: { inputIds: decoder.inputIds, positionIds: decoder.positionIds, cuSeqlens: decoder.cuSeqlens },
      tokens: batch.tokens + decoder.tokens,
    };
  },

  defaultMetrics: (_info, examples) => usualMetrics(examples) ?? languageModel.defaultMetrics(),

  tokensToGenerate,

  score: (metricName, outputs, examples) =>
    comparesTexts(metricName, examples)
      ? scoreTexts(metricName, outputs, examples)
      : languageModel.score(metricName, outputs),

  warnings: textWarnings,
};

function toPrompt(record: DataRecord, context: ExampleContext): ArrayLike<number> {
  const { task = NO_TASK } = context;
  const { textPair, ...rest } = record;
  const { text } = textToText(task, record);
  // A prompt has both texts in it.
  return encodeText({ ...rest, text, ...(textPair === undefined || task.prompt ? {} : { textPair }) }, context)
    .inputIds;
}

/** What the text written for a record is to be compared with; undefined where the record has no text to compare with. */
function answerKey(
  { target: given, answers, labelIds }: DataRecord,
  label: number | undefined,
  target: string | undefined,
  { tokenizer, task = NO_TASK }: ExampleContext,
): AnswerKey | undefined {
  if (!tokenizer || labelIds || target === undefined) return undefined;
  const asks =
    given === undefined && answers !== undefined && (task.kind === 'question-answering' || label === undefined);
  return {
    kind: asks ? 'question-answering' : task.kind,
    references: asks ? answers.map(({ text }) => text) : [target],
    classes: task.kind === 'classification' && given === undefined && label !== undefined ? task.labelNames : [],
    tokenizer,
  };
}
