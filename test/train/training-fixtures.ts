// What the training tests ask of the library, in one place: train a fixture's model on its batches.
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import type { PeftModel, PeftOptions } from '../../ts/peft/peft-model.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { Trainer, type TrainerOptions, type TrainResult } from '../../ts/train/trainer.js';
import type { TrainingArguments } from '../../ts/train/training-arguments.js';
import { examplesOf, openAdapted, openBase, type FixtureBatch, type Variant } from '../models/bert-fixtures.js';

/** Sequences in each batch of a fixture's training run. */
export const BATCH_SIZE = 4;

/** The batches of a fixture as one data set, which unshuffled batches of {@link BATCH_SIZE} give back. */
export function datasetOf(batches: readonly FixtureBatch[]): Example[] {
  return batches.flatMap(examplesOf);
}

/** A model to train: with the adapter that peft made (`adapter`), or with a method put on the base model. */
export async function openTrainable(
  backend: Backend,
  variant: Variant,
  method: 'adapter' | PeftOptions,
): Promise<PeftModel> {
  return method === 'adapter' ? openAdapted(backend, variant) : getPeftModel(await openBase(backend, variant), method);
}

/** Trains without shuffling unless `args` say otherwise. */
export function train(
  model: PeftModel,
  trainDataset: readonly Example[],
  args: Partial<TrainingArguments>,
  options: Partial<TrainerOptions> = {},
): Promise<TrainResult> {
  return new Trainer({
    model,
    trainDataset,
    args: { batchSize: BATCH_SIZE, shuffle: false, ...args },
    ...options,
  }).train();
}

/** Values of the trainable parameters by name. */
export function parametersOf(model: PeftModel): Map<string, Float32Array> {
  return new Map([...model.trainableParameters()].map(([name, parameter]) => [name, parameter.toFloats()]));
}

/** Values of the frozen parameters by name. */
export function frozenOf(model: PeftModel): Map<string, Float32Array> {
  const frozen = [...model.base.namedParameters()].filter(([, parameter]) => !parameter.requiresGrad);
  return new Map(frozen.map(([name, parameter]) => [name, parameter.toFloats()]));
}
