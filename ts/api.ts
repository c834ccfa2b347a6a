/** Everything that Node and browsers share. */
export type { Backend, BackendOptions } from './backend/backend.js';
export { batchIndices, collate, type Example, type RaggedBatch } from './data/batching.js';
export { bestSpan, type Span, type SpanOptions } from './data/best-span.js';
export { ImageProcessor } from './data/image-processor.js';
export { resolveLabels } from './data/labels.js';
export type { RawImage } from './data/raw-image.js';
export type { Answer, DataRecord } from './data/record.js';
export { getTask, TASKS, type Task } from './data/tasks/index.js';
export { textToText, type TextToText } from './data/text-to-text.js';
export { prepareExamples } from './heads/prepare-examples.js';
export { getHead, HEADS } from './heads/index.js';
export type { Files } from './io/folder.js';
export type { Head, HeadInfo, HeadOutput } from './heads/head.js';
export { Tokenizer } from './data/tokenizer.js';
export {
  ActivationProfile,
  type LayerProfile,
  type ProfileOptions,
  type SkippedWork,
} from './density/activation-profile.js';
export { profileMean, type ProfileMean } from './density/profile-mean.js';
export { kernelGain, type KernelGain } from './density/kernel-gain.js';
export { densityController, type DensityBudget } from './density/density-controller.js';
export { DENSITY_LOSSES } from './density/losses/index.js';
export { densityLoss, type DensityLossOptions } from './density/density-loss.js';
export {
  DensityMeter,
  densityChange,
  densitySummary,
  meanDensity,
  type DensitySummary,
  type LayerDensity,
} from './density/mean-density.js';
export {
  ThresholdCalibration,
  thresholdsOf,
  type ChosenThreshold,
  type LayerEffects,
  type ThresholdEffect,
  type ThresholdGoal,
} from './density/threshold-calibration.js';
export { DeftuneError } from './error.js';
export { generate, type GenerateOptions } from './generation/generate.js';
export * from './metrics/index.js';
export type { Model, ModelInfo, ModelOptions } from './models/model.js';
export {
  activationThresholds,
  setActivationThresholds,
  type ActivationThresholds,
} from './nn/activation-thresholds.js';
export { ForwardContext } from './nn/forward-context.js';
export { freezeWeights, type Precision } from './nn/freeze-weights.js';
export { gatePenalty } from './peft/gate-penalty.js';
export type { LayerGateSettings, StoredGates } from './peft/layer-gates.js';
export { getPeftModel, PeftModel, type PeftOptions } from './peft/peft-model.js';
export { scope } from './tensor/scope.js';
export { Tensor } from './tensor/tensor.js';
export { evaluate, predict, type Evaluation, type Predictions } from './train/evaluate.js';
export {
  Trainer,
  type EvaluationLog,
  type StepLog,
  type TrainerCallback,
  type TrainerOptions,
  type TrainResult,
} from './train/trainer.js';
export { thresholdsWithinBudget, type ThresholdsWithinBudget } from './train/thresholds-within-budget.js';
export { DensityRecorder, type DensityRecord } from './train/density-recorder.js';
export { checkpointMemory } from './train/checkpoint-memory.js';
export type { CheckpointStore, TrainingState } from './train/checkpoint.js';
export { NonFiniteError } from './train/non-finite-error.js';
export { weightsAndBiases, type WandbClient, type WeightsAndBiasesOptions } from './train/weights-and-biases.js';
export type { TrainingArguments } from './train/training-arguments.js';
