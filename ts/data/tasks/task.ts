import type { MetricName } from '../../metrics/index.js';

/** What is known about a benchmark task, so that a user need only name it. */
export interface Task {
  name: string;
  /** Paths of its files in the folder a user downloaded it to. */
  files(dir: string): { train: string; valid: string };
  /** The columns with text: one, or two for sentence pairs. */
  textColumns: readonly string[];
  /** Class names by index. */
  labelNames: readonly string[];
  metric: MetricName;
}
