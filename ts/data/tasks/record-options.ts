import { withColumns } from '../columns.js';
import type { RecordOptions } from '../record-options.js';
import type { Task } from './task.js';

/** How to read the files of a task. */
export function recordOptions(task: Task): RecordOptions {
  const { columns, required, header, skipIncompleteRows } = task;
  return { columns: withColumns(columns), required, header, skipIncompleteRows };
}
