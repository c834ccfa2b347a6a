/** A cell of a table. */
export type Cell = string | number | undefined;

/** Lines of comma-separated values, quoted where RFC 4180 asks for it; what is undefined or no number is empty. */
export function csv(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly Cell[]): string => `${cells.map(quoted).join(',')}\n`;
  return [head, ...rows].map(line).join('');
}

function quoted(cell: Cell): string {
  if (cell === undefined || (typeof cell === 'number' && !Number.isFinite(cell))) return '';
  const text = String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
