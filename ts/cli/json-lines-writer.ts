import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { DeftuneError } from '../error.js';
import { explainFileError } from '../io/files-node.js';

/** A JSONL file written line by line, so that a run can be watched. */
export class JsonLinesWriter {
  private readonly file: number;

  /**
   * @param options.append keep the lines that are there; a last one that a killed run did not finish is cut off
   * @throws DeftuneError naming the file that cannot be written.
   */
  constructor(
    private readonly path: string,
    { append = false } = {},
  ) {
    try {
      this.file = openSync(path, append ? 'a+' : 'w');
      if (append) cutUnfinishedLine(this.file);
    } catch (cause) {
      throw new DeftuneError(
        `${path}: cannot be written (${(cause as NodeJS.ErrnoException).code ?? 'unknown reason'})`,
        { cause },
      );
    }
  }

  write(entry: unknown): void {
    try {
      writeSync(this.file, `${JSON.stringify(entry)}\n`);
    } catch (cause) {
      throw explainFileError(this.path, 'write', cause);
    }
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Shortens a file to the end of its last whole line. */
function cutUnfinishedLine(file: number): void {
  const byte = new Uint8Array(1);
  let size = fstatSync(file).size;
  while (size > 0) {
    readSync(file, byte, 0, 1, size - 1);
    if (byte[0] === 0x0a) break;
    size -= 1;
  }
  ftruncateSync(file, size);
}
