import { writeFileSync } from 'node:fs';
import Table from 'cli-table3';

const format = (value) => {
  if (value === null || value === undefined) return '-';
  if (value === 0) return '0';
  return value.toPrecision(value >= 100 ? 4 : 3).replace(/e\+.*/, (exponent) => exponent);
};

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
    const table = new Table({
      head: ['work', 'precision', 'unit', 'ours', peerName, 'ratio', 'of limit'],
      colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'right'],
      style: { head: [], border: [], compact: true },
    });
    for (const { work, precision, unit, ours, peer, ratio, ofLimit } of lines) {
      const share = ofLimit === null ? '-' : `${Math.round(100 * ofLimit)} %`;
      table.push([
        work,
        precision,
        unit,
        format(ours),
        format(peer),
        ratio === null ? '-' : `${ratio.toFixed(2)}x`,
        share,
      ]);
    }
    console.log(`\n${title}\n${table.toString()}`);
  }

  /** Writes all lines. */
  write(file) {
    if (file) writeFileSync(file, `${JSON.stringify(this.#lines, null, 2)}\n`);
  }
}
