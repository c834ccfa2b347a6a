import type { DensitySummary, LayerDensity } from '../density/mean-density.js';
import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import type { EvaluationLog, StepLog, TrainerCallback } from './trainer.js';

/** What deftune.json says of the density beside an adapter. */
export interface DensityRecord {
  /** Settings of the density loss, alpha as it was last; null where a run had none. */
  loss: Readonly<Record<string, unknown>> | null;
  /** Of the last step's batches. */
  training?: DensitySummary & { step: number };
  /** Of the last evaluation. */
  validation?: DensitySummary & { step: number; layerDensity: LayerDensity[] };
}

/** Follows a run, for what is saved beside its adapter: a callback for a Trainer. */
export class DensityRecorder implements TrainerCallback {
  private training: DensityRecord['training'];
  private validation: DensityRecord['validation'];

  /** @param losses those of the run */
  constructor(private readonly losses: readonly AuxiliaryLoss[]) {}

  onStep = ({ step, density, encoderDensity, decoderDensity }: StepLog): void => {
    this.training = { step, density, encoderDensity, decoderDensity };
  };

  onEvaluate = ({ step, density, encoderDensity, decoderDensity, layerDensity }: EvaluationLog): void => {
    this.validation = { step, density, encoderDensity, decoderDensity, layerDensity };
  };

  /** What there is to say at this step. */
  record(): DensityRecord {
    const loss = this.losses.find(({ settings }) => settings);
    return {
      loss: loss?.settings ? { ...loss.settings, alpha: loss.weight } : null,
      ...(this.training ? { training: this.training } : {}),
      ...(this.validation ? { validation: this.validation } : {}),
    };
  }
}
