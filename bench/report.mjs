import { writeFileSync } from 'node:fs';
import Table from 'cli-table3';

const format = (value) => {
  if (value === null || value === undefined) return '-';
  if (value === 0) return '0';
  return value.toPrecision(value >= 100 ? 4 : 3).replace(/e\+.*/, (exponent) => exponent);
};

/** Prints a table: the columns `words` to the left, then `numbers` to the right. */
export function printTable(title, words, numbers, rows) {
  const table = new Table({
    head: [...words, ...numbers],
    colAligns: [...words.map(() => 'left'), ...numbers.map(() => 'right')],
    style: { head: [], border: [], compact: true },
  });
  table.push(...rows);
  console.log(`\n${title}\n${table.toString()}`);
}

/** Collects results, prints each group as a table and writes them all as JSON. */
export class Report {
  #lines = [];
  #printed = 0;

  /**
   * @param line `work`, `precision`, `unit`, `ours`; `peer` and `ratio` (how many times better ours is) null where there is none;
   *   `ofLimit` is the share of the hardware's limit (FMA peak or bandwidth) null where none applies.
   */
  add({ work, precision = 'f32', unit, ours, peer = null, ratio = null, ofLimit = null }) {
    this.#lines.push({ work, precision, unit, ours, peer, ratio, ofLimit });
  }

  /** Prints what came since the last call. */
  print(title, peerName = 'peer') {
    const lines = this.#lines.slice(this.#printed);
    this.#printed = this.#lines.length;
    if (lines.length === 0) return;
    const rows = lines.map(({ work, precision, unit, ours, peer, ratio, ofLimit }) => [
      work,
      precision,
      unit,
      format(ours),
      format(peer),
      ratio === null ? '-' : `${ratio.toFixed(2)}x`,
      ofLimit === null ? '-' : `${Math.round(100 * ofLimit)} %`,
    ]);
    printTable(title, ['work', 'precision', 'unit'], ['ours', peerName, 'ratio', 'of limit'], rows);
  }

  /** Writes all lines. */
  write(file) {
    if (file) writeFileSync(file, `${JSON.stringify(this.#lines, null, 2)}\n`);
  }
}
