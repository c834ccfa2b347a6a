import { closeSync, openSync, writeSync } from 'node:fs';
import { DeftuneError } from '../error.js';

/** A JSONL file written line by line, so that a run can be watched. */
export class JsonLinesWriter {
  private readonly file: number;

  /** @throws DeftuneError naming the file that cannot be written. */
  constructor(path: string) {
    try {
      this.file = openSync(path, 'w');
    } catch (cause) {
      throw new DeftuneError(
        `${path}: cannot be written (${(cause as NodeJS.ErrnoException).code ?? 'unknown reason'})`,
        { cause },
      );
    }
  }

  write(entry: unknown): void {
    writeSync(this.file, `${JSON.stringify(entry)}\n`);
  }

  close(): void {
    closeSync(this.file);
  }
}
