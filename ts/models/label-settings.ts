import type { Head } from '../heads/head.js';
import type { ConfigReader } from './config-reader.js';
import type { ModelInfo, ModelOptions } from './model.js';

/**
 * Number and names of a model's labels: those asked for, else the checkpoint's, else config.json's.
 *
 * @param stored rows of the checkpoint's classifier, where it has one
 */
export function labelSettings(
  head: Head,
  reader: ConfigReader,
  stored: number | undefined,
  options: ModelOptions,
): Pick<ModelInfo, 'numLabels' | 'labelNames'> {
  if (!head.hasLabels) return { numLabels: 0, labelNames: [] };
  const configured = reader.labelNames();
  const numLabels = options.numLabels ?? stored ?? configured?.length ?? 2;
  const defaults = Array.from({ length: numLabels }, (_, index) => `LABEL_${index}`);
  const fitting = configured?.length === numLabels ? configured : defaults;
  return { numLabels, labelNames: options.labelNames ?? fitting };
}
