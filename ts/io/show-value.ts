const LIMIT = 80;

/**
 * Renders any value for an error message: on one line, quoted like JSON, at most about 80 characters,
 * because names and values in messages may come from hostile or enormous files.
 */
export function showValue(value: unknown): string {
  let text: string | undefined;
  try {
    // A huge string is cut before it is quoted, so that quoting it stays cheap.
    text = JSON.stringify(typeof value === 'string' && value.length > LIMIT ? value.slice(0, LIMIT + 1) : value);
  } catch {
    text = undefined;
  }
  // JSON has no spelling for these: numbers such as NaN come out as null, bigints throw.
  if (text === undefined || typeof value === 'number') text = String(value);
  return text.length > LIMIT + 2 ? `${text.slice(0, LIMIT)}…` : text;
}
