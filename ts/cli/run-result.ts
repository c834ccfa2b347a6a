import { sampleActivations } from '../density/activation-sample.js';
import { DeftuneError } from '../error.js';
import type { RunResult, RunVariant } from '../report/compare-result.js';
import type { FinishedRun } from './training-run.js';

/** Which run of a comparison it is. */
export interface RunIdentity {
  variant: RunVariant;
  seed: number;
  alpha?: number | undefined;
  /** Whether to keep the activations of the first validation example. */
  withActivations: boolean;
}

/** A finished run as the report has it. The model must still be open. @throws DeftuneError where nothing was evaluated */
export async function runResult(run: FinishedRun, identity: RunIdentity): Promise<RunResult> {
  const { evaluation, log, seconds, steps } = run.result;
  const { variant, seed, alpha, withActivations } = identity;
  if (!evaluation) throw new DeftuneError('a comparison needs validation data');
  const { metricName, metric, density, encoderDensity, decoderDensity, layerDensity } = evaluation;
  const skipped = layerDensity.filter((layer) => layer.skipped).map(({ name }) => name);
  const activations =
    withActivations && run.validExample
      ? await sampleActivations(run.model.base, run.validExample, run.tokenizer)
      : undefined;
  return {
    ...{ variant, seed, alpha, metricName, metric, density, encoderDensity, decoderDensity },
    layerDensity: layerDensity.map((layer) => layer.density),
    ...(skipped.length > 0 ? { skippedMlps: skipped } : {}),
    layerNames: layerDensity.map((layer) => layer.name),
    ...(run.otherSets.length === 0
      ? {}
      : {
          otherSets: run.otherSets.map(({ name, evaluation: other }) => ({
            ...{ name, metricName: other.metricName, metric: other.metric, density: other.density },
          })),
        }),
    ...{ seconds, steps, log },
    evaluations: run.result.evaluations.map((entry) => ({ step: entry.step, metric: entry.metric })),
    ...(activations ? { activations } : {}),
    warnings: run.warnings,
  };
}
