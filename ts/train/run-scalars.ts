import type { Scalars } from './event-record.js';
import type { EvaluationLog, StepLog } from './trainer.js';

/** A step's numbers under the names that transformers' Trainer gives its logs. */
export function stepScalars({ loss, taskLoss, densityLoss, density, lr, gradNorm, tokens, seconds }: StepLog): Scalars {
  return {
    'train/loss': loss,
    'train/task_loss': taskLoss,
    'train/density_loss': densityLoss,
    'train/density': density,
    'train/learning_rate': lr,
    'train/grad_norm': gradNorm,
    'train/tokens_per_second': tokens / seconds,
  };
}

/** An evaluation's numbers: loss, density, every metric. */
export function evaluationScalars({ loss, density, metrics }: EvaluationLog): Scalars {
  const named = Object.entries(metrics).map(([name, value]) => [`eval/${name}`, value] as const);
  return { 'eval/loss': loss, 'eval/density': density, ...Object.fromEntries(named) };
}
