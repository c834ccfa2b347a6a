import { z } from 'zod';
import { readJson, writeFileAtomic } from '../io/files-node.js';
import { validate } from '../io/validate.js';
import type { ActivationThresholds } from '../nn/activation-thresholds.js';

const schema = z.object({ thresholds: z.record(z.string(), z.number().min(0)) });

/**
 * Reads a file of `deftune calibrate`: JSON with `thresholds`, a number from 0 by the name of each MLP.
 *
 * @throws DeftuneError naming the file and the field that is wrong
 */
export function readActivationThresholds(path: string): ActivationThresholds {
  return validate(schema, readJson(path), path).thresholds;
}

/** Writes such a file. @param more what it says of their origin */
export function writeActivationThresholds(
  path: string,
  thresholds: ActivationThresholds,
  more: Readonly<Record<string, unknown>> = {},
): void {
  writeFileAtomic(path, `${JSON.stringify({ thresholds, ...more }, null, 2)}\n`);
}
