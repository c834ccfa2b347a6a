import { collate, IGNORED_LABEL, type Example } from '../data/batching.js';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import { checkIds, encodeText } from './encode-text.js';
import type { Head } from './head.js';
import { labelledRows, languageModel } from './language-model.js';

/** Share of the tokens that are chosen to be predicted (Devlin et al. 2019). */
const CHOSEN = 0.15;

/** Examples whose masks are drawn by the collator. */
interface MaskableExample extends Example {
  /** The tokenizer's mask token, and the ids that are never masked. */
  mask?: { tokenId: number; special: readonly number[] };
}

/**
 * Predicts masked tokens. `labelIds` are taken as they are (-100: not predicted); without them 15 % of the tokens are drawn anew for
 * each batch, at least one: of these 80 % become the mask token, 10 % another token, 10 % stay.
 */
export const maskedLM: Head = {
  ...languageModel,
  name: 'MaskedLM',
  taskType: null,

  toExamples(record, _label, context): MaskableExample[] {
    const example = encodeText(record, context);
    const { tokenizer, info, where } = context;
    if (record.labelIds) {
      if (record.labelIds.length !== (record.inputIds?.length ?? example.inputIds.length)) {
        throw new DeftuneError(
          `${where}: labelIds has ${record.labelIds.length} elements, expected ${example.inputIds.length} as in inputIds`,
        );
      }
      const labelIds = record.labelIds.slice(0, example.inputIds.length);
      checkIds(labelIds, 'labelIds', info.vocabSize, where, { ignored: IGNORED_LABEL });
      return [{ ...example, labelIds }];
    }
    const tokenId = tokenizer?.maskTokenId;
    if (tokenId === undefined) {
      throw new DeftuneError(`${where}: labelIds is missing, expected it where the tokenizer has no mask token`);
    }
    return [{ ...example, mask: { tokenId, special: tokenizer?.specialTokenIds ?? [] } }];
  },

  collate(examples: readonly MaskableExample[], { info, seed = 0 }) {
    const rng = new Rng(seed, 0x3a5c);
    const drawn = examples.map((example) => (example.labelIds ? example : masked(example, info.vocabSize, rng)));
    const batch = collate(drawn);
    const labelOf = (example: number, position: number): number =>
      drawn[example]?.labelIds?.[position] ?? IGNORED_LABEL;
    return { ...batch, ...labelledRows(batch.cuSeqlens, labelOf) };
  },
};

function masked({ mask, ...example }: MaskableExample, vocabSize: number, rng: Rng): Example {
  if (!mask) return example;
  const inputIds = Array.from(example.inputIds);
  const ordinary = inputIds.flatMap((id, position) => (mask.special.includes(id) ? [] : [position]));
  const chosen = ordinary.filter(() => rng.nextFloat() < CHOSEN);
  // A short text would often have none, and nothing to learn.
  if (chosen.length === 0 && ordinary.length > 0) chosen.push(ordinary[rng.nextBelow(ordinary.length)] as number);
  const labelIds = inputIds.map((id, position) => {
    if (!chosen.includes(position)) return IGNORED_LABEL;
    const kind = rng.nextFloat();
    if (kind < 0.8) inputIds[position] = mask.tokenId;
    else if (kind < 0.9) inputIds[position] = rng.nextBelow(vocabSize);
    return id;
  });
  return { ...example, inputIds, labelIds };
}
