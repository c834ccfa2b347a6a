import type { Scalars } from './event-record.js';
import type { EvaluationLog, StepLog } from './trainer.js';

/** A step's numbers under the names that transformers' Trainer gives its logs. */
export function stepScalars(log: StepLog): Scalars {
  const { loss, taskLoss, densityLoss, auxiliary = {}, density, lr, gradNorm, tokens, seconds } = log;
  return {
    ...Object.fromEntries(Object.entries(auxiliary).map(([name, value]) => [`train/${snakeCase(name)}`, value])),
    'train/loss': loss,
    'train/task_loss': taskLoss,
    'train/density_loss': densityLoss,
    'train/density': density,
    'train/learning_rate': lr,
    'train/grad_norm': gradNorm,
    'train/tokens_per_second': tokens / seconds,
  };
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** An evaluation's numbers: loss, density, every metric. */
export function evaluationScalars({ loss, density, metrics }: EvaluationLog): Scalars {
  const named = Object.entries(metrics).map(([name, value]) => [`eval/${name}`, value] as const);
  return { 'eval/loss': loss, 'eval/density': density, ...Object.fromEntries(named) };
}
