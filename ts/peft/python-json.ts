/** JSON as Python's json module writes it with indent 2 and sorted keys. */
export function pythonJson(value: Readonly<Record<string, unknown>>): string {
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(sorted, null, 2);
}
