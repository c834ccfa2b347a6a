const SPACE = /[ \t\r\n]*/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
// One piece of a string at a time: a pattern for the whole would overflow the stack on a long one.
const PIECE = /[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * Offset (in UTF-16 units) of the first place where `text` stops being JSON, or the text's length when
 * it merely ends too early. Only needed after JSON.parse has failed: V8 omits the position from several
 * of its messages.
 */
export function jsonErrorOffset(text: string): number {
  const open: ('{' | '[')[] = [];
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const takeChar = (char: string): boolean => {
    if (text[at] !== char) return false;
    at += 1;
    return true;
  };
  const takeString = (): boolean => {
    if (!takeChar('"')) return false;
    while (take(PIECE));
    return takeChar('"');
  };
  let state: 'value' | 'key' | 'after' = 'value';
  let justOpened = false;
  for (;;) {
    take(SPACE);
    if (state === 'key') {
      if (justOpened && takeChar('}')) {
        open.pop();
        state = 'after';
      } else {
        if (!takeString()) return at;
        take(SPACE);
        if (!takeChar(':')) return at;
        state = 'value';
      }
      justOpened = false;
    } else if (state === 'value') {
      if (justOpened && takeChar(']')) {
        open.pop();
        state = 'after';
        justOpened = false;
      } else if (takeChar('{')) {
        open.push('{');
        state = 'key';
        justOpened = true;
      } else if (takeChar('[')) {
        open.push('[');
        justOpened = true;
      } else {
        if (text[at] === '"' ? !takeString() : !take(SCALAR)) return at;
        state = 'after';
        justOpened = false;
      }
    } else {
      const container = open.at(-1);
      if (container === undefined) return at;
      if (takeChar(',')) state = container === '{' ? 'key' : 'value';
      else if (takeChar(container === '{' ? '}' : ']')) open.pop();
      else return at;
    }
  }
}
