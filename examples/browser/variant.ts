import type { EvaluationLog, StepLog, WorkerTrainer } from 'deftune';

export type VariantName = 'PEFT' | 'DEFT';
export const VARIANTS: readonly VariantName[] = ['PEFT', 'DEFT'];

/** One of the two runs, and what it has reported. */
export interface Variant {
  name: VariantName;
  trainer: WorkerTrainer;
  steps: StepLog[];
  evaluations: EvaluationLog[];
}
