import { collate, IGNORED_LABEL } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { checkIds, encodeText } from './encode-text.js';
import type { Head } from './head.js';
import { labelledRows, languageModel } from './language-model.js';

/** Turns a text into another: an encoder reads `text` or `inputIds`, a decoder is taught `target` or `labelIds`. */
export const seq2seqLM: Head = {
  ...languageModel,
  name: 'Seq2SeqLM',
  taskType: 'SEQ_2_SEQ_LM',

  toExamples(record, _label, context) {
    const { tokenizer, info, where, onTruncated } = context;
    const example = encodeText(record, context);
    let labelIds = record.labelIds;
    if (!labelIds && record.target !== undefined) {
      if (!tokenizer) throw new DeftuneError(`${where}: target needs a tokenizer, but the model's directory has none`);
      const encoded = tokenizer.encode(record.target, { maxLength: info.maxLength });
      if (encoded.truncated) onTruncated();
      labelIds = encoded.inputIds;
    }
    if (!labelIds?.length) throw new DeftuneError(`${where}: labelIds is missing, expected labelIds or a target text`);
    checkIds(labelIds, 'labelIds', info.vocabSize, where, { ignored: IGNORED_LABEL });
    return [{ inputIds: example.inputIds, labelIds }];
  },

  /** The decoder reads the labels one position late, after its start token (teacher forcing). */
  collate(examples, { info }) {
    const batch = collate(examples);
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
};
