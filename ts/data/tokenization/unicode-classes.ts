/**
 * Character classes as the reference's libraries know them, as content of a bracket of a regular expression with the flag `v`. Their
 * tables are of different ages: Unicode 8 for punctuation and nonspacing marks (crate unicode_categories), 9 for combining marks and
 * normalization (unicode-normalization-alignments), 16 for letters, numbers and words. JavaScript's are those of the engine, newer than
 * the former, so what was assigned later is taken out. test/data/unicode-classes.test.ts compares them for every code point.
 */

const LATER_PUNCTUATION = ranges(
  '61d 9fd a76 c77 c84 1b4e-1b4f 1b7d-1b7f 2e43-2e4f 2e52-2e5d 10d6e 10ead 10ed0 10f55-10f59 10f86-10f89 113d4-113d5 113d7-113d8 ' +
    '1144b-1144f 1145a-1145b 1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46 11a9a-11a9c 11a9e-11aa2 11b00-11b09 11be1 ' +
    '11c41-11c45 11c70-11c71 11ef7-11ef8 11f43-11f4f 11fff 12ff1-12ff2 16d6d-16d6f 16e97-16e9a 16fe2 1e5ff 1e95e-1e95f',
);

const LATER_NONSPACING = ranges(
  '7fd 897-89f 8ca-8e1 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba ece 180f 1885-1886 1abf-1add 1ae0-1aeb 1df6-1dfb a82c a8c5 a8ff ' +
    'a9bd 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 111c9 111cf 1123e 11241 ' +
    '1133b 113bb-113c0 113ce 113d0 113d2 113e1-113e2 11438-1143f 11442-11444 11446 1145e 1182f-11837 11839-1183a 1193b-1193c 1193e ' +
    '11943 119d4-119d7 119da-119db 119e0 11a01-11a0a 11a33-11a38 11a3b-11a3e 11a47 11a51-11a56 11a59-11a5b 11a8a-11a96 11a98-11a99 ' +
    '11b60 11b62-11b64 11b66 11c30-11c36 11c38-11c3d 11c3f 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a ' +
    '11d3c-11d3d 11d3f-11d45 11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 11f00-11f01 11f36-11f3a 11f40 11f42 11f5a 13440 13447-13455 ' +
    '1611e-16129 1612d-1612f 16f4f 16fe4 1cf00-1cf2d 1cf30-1cf46 1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 1e026-1e02a 1e08f ' +
    '1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5 1e944-1e94a',
);

const LATER_MARKS = ranges(
  '7fd 897-89f 8ca-8d3 9fe afa-aff b55 c04 c3c cf3 d00 d3b-d3c d81 eba ece 1715 180f 1abf-1add 1ae0-1aeb 1cf7 1df6-1dfa a82c a8ff ' +
    '10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 11145-11146 111c9 111ce-111cf ' +
    '11241 1133b 113b8-113c0 113c2 113c5 113c7-113ca 113cc-113d0 113d2 113e1-113e2 1145e 1182c-1183a 11930-11935 11937-11938 ' +
    '1193b-1193e 11940 11942-11943 119d1-119d7 119da-119e0 119e4 11a01-11a0a 11a33-11a39 11a3b-11a3e 11a47 11a51-11a5b 11a8a-11a99 ' +
    '11b60-11b67 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45 11d47 11d8a-11d8e 11d90-11d91 11d93-11d97 11ef3-11ef6 11f00-11f01 11f03 ' +
    '11f34-11f3a 11f3e-11f42 11f5a 13440 13447-13455 1611e-1612f 16f4f 16f7f-16f87 16fe4 16ff0-16ff1 1cf00-1cf2d 1cf30-1cf46 1e08f ' +
    '1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5',
);

const LATER_LETTERS = ranges(
  '88f c5c cdc a7ce-a7cf a7d2 a7d4 a7f1 10940-10959 10ec5-10ec7 11db0-11ddb 16ea0-16eb8 16ebb-16ed3 16ff2-16ff3 187f8-187ff ' +
    '18d09-18d1e 18d80-18df2 1e6c0-1e6de 1e6e0-1e6e2 1e6e4-1e6e5 1e6e7-1e6ed 1e6f0-1e6f4 1e6fe-1e6ff 2b73a-2b73f 2cea2-2cead ' +
    '323b0-33479',
);

const LATER_WORD = ranges(
  '88f c5c cdc 1acf-1add 1ae0-1aeb a7ce-a7cf a7d2 a7d4 a7f1 10940-10959 10ec5-10ec7 10efa-10efb 11b60-11b67 11db0-11ddb ' +
    '11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18d09-18d1e 18d80-18df2 1e6c0-1e6de 1e6e0-1e6f5 1e6fe-1e6ff ' +
    '2b73a-2b73f 2cea2-2cead 323b0-33479',
);

/** White space: also U+0085, which JavaScript's \s lacks, and not U+FEFF, which it has. */
export const WHITE_SPACE = '\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

/** ASCII punctuation and symbols, and the categories Pc, Pd, Ps, Pe, Pi, Pf and Po. */
export const PUNCTUATION = `[\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e\\u166d\\u{111c9}\\p{P}]--[${LATER_PUNCTUATION}]`;

/** Categories Cc, Cf and Co (unassigned code points are none), but for tab, line feed and carriage return. */
export const CONTROL = `[\\p{Cc}\\p{Cf}\\p{Co}]--[\\t\\n\\r\\u0890\\u0891\\u08e2\\u{110cd}\\u{13430}-\\u{1343f}]`;

/** Category Mn. */
export const NONSPACING_MARK = `[\\u1734\\u{1171e}\\p{Mn}]--[${LATER_NONSPACING}]`;

/** Categories Mn, Mc and Me. */
export const COMBINING_MARK = `[\\u1cf2\\u1cf3\\p{M}]--[${LATER_MARKS}]`;

/** Category L. */
export const LETTER = `[\\p{L}]--[${LATER_LETTERS}]`;

/** Category N. */
export const NUMBER = '[\\p{N}]--[\\u{11de0}-\\u{11de9}\\u{16ff4}-\\u{16ff6}]';

/** What \w means in Rust's regular expressions. */
export const WORD = `[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]--[${LATER_WORD}]`;

/** What the reference's normalization (Unicode 9) leaves alone, but today's decomposes, composes or reorders. */
export const INERT =
  `[${LATER_MARKS}]` +
  `[${ranges('32ff a7f1-a7f4 ab69 105c9 105d2 105da 105e4 10781-10785 10787-107b0 107b2-107ba 11382-11385 1138b 1138e 11390-11391')}]` +
  `[${ranges('16d63 16d67-16d6a 1ccd6-1ccf9 1e030-1e06d 1f16c 1fbf0-1fbf9')}]`;

/** Ideographs that BERT sets apart. It leaves out U+2B820 to U+2B91F, as BERT's authors did by mistake. */
export const IDEOGRAPH =
  '\\u4e00-\\u9fff\\u3400-\\u4dbf\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}\\u{2b740}-\\u{2b81f}\\u{2b920}-\\u{2ceaf}' +
  '\\uf900-\\ufaff\\u{2f800}-\\u{2fa1f}';

function ranges(list: string): string {
  return list.replace(/[0-9a-f]+/g, '\\u{$&}').replaceAll(' ', '');
}
