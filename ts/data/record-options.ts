import type { Columns, FieldName } from './columns.js';

/** How the fields of a file are named and checked. */
export interface RecordOptions {
  /** Default COLUMNS. */
  columns?: Columns | undefined;
  /** Fields that each record must have, unless it has inputIds. */
  required?: readonly FieldName[] | undefined;
  /** Column names of a table whose first line is a record already; used only if that line names none of its columns. */
  header?: readonly string[] | undefined;
  /** Leave out rows with too few or too many columns instead of refusing the table; `onNotice` is told how many. Default false. */
  skipIncompleteRows?: boolean | undefined;
  /** Told what a user should know. */
  onNotice?: ((notice: string) => void) | undefined;
  /** Makes the path of an image, given relative to the record file, one to open. */
  resolvePath?: ((path: string) => string) | undefined;
}
