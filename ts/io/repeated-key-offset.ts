/**
 * Offset (in UTF-16 units) of the first key that an object of a JSON text has twice; undefined where there is none. JSON.parse keeps
 * the last silently, so that two readers may see two different documents.
 *
 * @param text a valid JSON text
 */
export function repeatedKeyOffset(text: string): number | undefined {
  // Keys of each open object; undefined for a list.
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(undefined);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const end = closingQuote(text, at + 1);
      if (isKey(text, end + 1)) {
        const quoted = text.slice(at, end + 1);
        const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
        const keys = open.at(-1);
        if (keys?.has(key)) return at;
        keys?.add(key);
      }
      at = end;
    }
  }
  return undefined;
}

function closingQuote(text: string, from: number): number {
  for (let at = from; ; at++) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at;
  }
}

/** Whether a colon follows: in valid JSON that makes a string a key. */
function isKey(text: string, from: number): boolean {
  let at = from;
  while (/\s/.test(text[at] ?? '')) at += 1;
  return text[at] === ':';
}
