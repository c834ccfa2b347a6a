import { z } from 'zod';
import type { AlignedText, CharChange } from './aligned-text.js';
import { toByteCharacters } from './byte-characters.js';
import { buildComponent, buildComponents, readFields, type ComponentBuilder } from './component.js';
import { patternField, patternOf } from './pattern.js';
import { PrecompiledCharsmap } from './precompiled-charsmap.js';
import { COMBINING_MARK, CONTROL, IDEOGRAPH, NONSPACING_MARK, WHITE_SPACE } from './unicode-classes.js';
import { normalizeForm } from './unicode-forms.js';

/** Rewrites text before it is split. */
export type Normalizer = (text: AlignedText) => AlignedText;

/** Builds the `normalizer` of tokenizer.json. @throws DeftuneError for one that is unknown or ill-formed. */
export function buildNormalizer(json: unknown, where: string): Normalizer {
  return buildComponent(NORMALIZERS, json, where);
}

const NORMALIZERS: Readonly<Record<string, ComponentBuilder<Normalizer>>> = {
  BertNormalizer: buildBert,
  ByteLevel: () => toByteCharacters,
  Lowercase: () => lowercase,
  NFC: () => (text) => normalizeForm(text, 'NFC'),
  NFD: () => (text) => normalizeForm(text, 'NFD'),
  NFKC: () => (text) => normalizeForm(text, 'NFKC'),
  NFKD: () => (text) => normalizeForm(text, 'NFKD'),
  Nmt: () => nmt,
  Precompiled: (json, where) => {
    const { precompiled_charsmap } = readFields(z.object({ precompiled_charsmap: z.string().nullish() }), json, where);
    if (!precompiled_charsmap) return (text) => text;
    const map = new PrecompiledCharsmap(precompiled_charsmap, where);
    return (text) => map.normalize(text);
  },
  Prepend: (json, where) => {
    const { prepend } = readFields(z.object({ prepend: z.string() }), json, where);
    return (text) => text.prepend(prepend);
  },
  Replace: (json, where) => {
    const { pattern, content } = readFields(z.object({ pattern: patternField, content: z.string() }), json, where);
    const regex = patternOf(pattern, `${where}.pattern`);
    return (text) => text.replace(regex, content);
  },
  Sequence: (json, where) => {
    const parts = buildComponents(NORMALIZERS, json['normalizers'], `${where}.normalizers`);
    return (text) => parts.reduce((result, part) => part(result), text);
  },
  Strip: (json, where) => {
    const fields = readFields(z.object({ strip_left: z.boolean(), strip_right: z.boolean() }), json, where);
    return (text) => {
      const start = fields.strip_left ? LEADING_SPACE.exec(text.text)![0].length : 0;
      const end = fields.strip_right ? text.text.length - TRAILING_SPACE.exec(text.text)![0].length : text.text.length;
      return text.trim(start, Math.max(start, end));
    };
  },
  StripAccents: () => (text) => (ASCII.test(text.text) ? text : text.filter((char) => !COMBINING.test(char))),
};

const ASCII = /^[\0-\x7f]*$/;
const LEADING_SPACE = new RegExp(`^[${WHITE_SPACE}]*`, 'v');
const TRAILING_SPACE = new RegExp(`(?<![${WHITE_SPACE}])[${WHITE_SPACE}]*$`, 'v');
const COMBINING = new RegExp(`[${COMBINING_MARK}]`, 'v');
const NONSPACING = new RegExp(`[${NONSPACING_MARK}]`, 'v');
const UNCLEAN = new RegExp(`[\\0\\ufffd[${CONTROL}]]`, 'v');
const SPACES = new RegExp(`[${WHITE_SPACE}]`, 'gv');
const IDEOGRAPHS = new RegExp(`[${IDEOGRAPH}]`, 'v');

/** BERT's clean-up (github.com/google-research/bert, tokenization.py, BasicTokenizer). */
function buildBert(json: Readonly<Record<string, unknown>>, where: string): Normalizer {
  const fields = readFields(
    z.object({
      clean_text: z.boolean().default(true),
      handle_chinese_chars: z.boolean().default(true),
      strip_accents: z.boolean().nullish(),
      lowercase: z.boolean().default(true),
    }),
    json,
    where,
  );
  const stripAccents = fields.strip_accents ?? fields.lowercase;
  return (text) => {
    if (fields.clean_text) {
      if (UNCLEAN.test(text.text)) text = text.filter((char) => !UNCLEAN.test(char));
      text = text.withText(text.text.replace(SPACES, ' '));
    }
    if (fields.handle_chinese_chars && IDEOGRAPHS.test(text.text)) text = setIdeographsApart(text);
    if (stripAccents && !ASCII.test(text.text))
      text = normalizeForm(text, 'NFD').filter((char) => !NONSPACING.test(char));
    return fields.lowercase ? lowercase(text) : text;
  };
}

function setIdeographsApart(text: AlignedText): AlignedText {
  const changes: CharChange[] = [];
  for (const char of text.text) {
    if (IDEOGRAPHS.test(char)) changes.push([' ', 0], [char, 1], [' ', 1]);
    else changes.push([char, 0]);
  }
  return text.transform(changes);
}

/** Each character by itself: in particular no final sigma, which JavaScript finds by context. */
function lowercase(text: AlignedText): AlignedText {
  if (ASCII.test(text.text)) return text.withText(text.text.toLowerCase());
  const changes: CharChange[] = [];
  for (const char of text.text) {
    let change = 0;
    for (const lower of char.toLowerCase()) {
      changes.push([lower, change]);
      change = 1;
    }
  }
  return text.transform(changes);
}

/** SentencePiece's clean-up for machine translation. */
function nmt(text: AlignedText): AlignedText {
  const clean = text.filter((char) => !/[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/.test(char));
  return clean.withText(clean.text.replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, ' '));
}
