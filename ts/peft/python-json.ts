/**
 * JSON as Python's json module writes it with indent 2 and sorted keys.
 *
 * @param floats fields that Python must read as floats: a whole number there is written `1.0`
 */
export function pythonJson(value: Readonly<Record<string, unknown>>, floats: readonly string[] = []): string {
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  const text = JSON.stringify(sorted, null, 2);
  if (floats.length === 0) return text;
  return text.replace(new RegExp(`^( *"(?:${floats.join('|')})": -?\\d+)(,?)$`, 'gm'), '$1.0$2');
}
