// The cases are in gradient-checks/, in files named as those of ts/ops.
import type { GradientChecks } from './gradient-check.js';
import { ACTIVATE } from './gradient-checks/activate.js';
import { ATTENTION } from './gradient-checks/attention.js';
import { COLUMNS } from './gradient-checks/columns.js';
import { CONCAT_SEQUENCES } from './gradient-checks/concat-sequences.js';
import { DENSITY_VALUE } from './gradient-checks/density-value.js';
import { DORA_LINEAR } from './gradient-checks/dora-linear.js';
import { DROPOUT } from './gradient-checks/dropout.js';
import { ELEMENTWISE } from './gradient-checks/elementwise.js';
import { GATHER_ROWS } from './gradient-checks/gather-rows.js';
import { LAYER_NORM } from './gradient-checks/layer-norm.js';
import { LINEAR } from './gradient-checks/linear.js';
import { LORA_LINEAR } from './gradient-checks/lora-linear.js';
import { RMS_NORM } from './gradient-checks/rms-norm.js';
import { TASK_LOSSES } from './gradient-checks/task-losses.js';

/** Cases of each export of ts/ops/index.ts: a test fails for one that is missing here. */
export const GRADIENT_CHECKS: GradientChecks = {
  ...ELEMENTWISE,
  ...GATHER_ROWS,
  ...DROPOUT,
  ...LAYER_NORM,
  ...RMS_NORM,
  ...CONCAT_SEQUENCES,
  ...COLUMNS,
  ...LINEAR,
  ...LORA_LINEAR,
  ...DORA_LINEAR,
  ...ACTIVATE,
  ...ATTENTION,
  ...DENSITY_VALUE,
  ...TASK_LOSSES,
};
