import { resolve } from 'node:path';
import process from 'node:process';
import { Command, Option } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DENSITY_LOSSES } from '../../density/losses/index.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFile, checkOutputFolder } from '../../io/files-node.js';
import { adapterFiles, saveAdapter } from '../../peft/peft-files-node.js';
import { checkpointDirectory, checkpointSteps } from '../../train/checkpoint-directory-node.js';
import { tensorBoard } from '../../train/tensorboard-node.js';
import type { TrainerCallback } from '../../train/trainer.js';
import { weightsAndBiases } from '../../train/weights-and-biases.js';
import { catchSignals } from '../catch-signals.js';
import {
  DENSITY_OPTIONS,
  densityBudget,
  densitySettings,
  withReference,
  type DensitySettings,
} from '../density-settings.js';
import { describeMachine } from '../describe-machine.js';
import { GATE_OPTIONS } from '../gate-settings.js';
import { JsonLinesWriter } from '../json-lines-writer.js';
import { loadData } from '../load-data.js';
import { addRunOptions, integer, type RunOptions } from '../options.js';
import { print, warn } from '../output.js';
import {
  plainFolder,
  readReference,
  trainReference,
  type Interruption,
  type PlainReference,
} from '../plain-reference.js';
import { trainingRun, type FinishedRun, type Saving, type TrainingRun } from '../training-run.js';
import { describeDensity } from '../ui/describe-density.js';
import { describeGates } from '../ui/describe-gates.js';
import { describeEvaluation, evaluationJson, otherSetsJson } from '../ui/describe-evaluation.js';
import { describeReference } from '../ui/describe-reference.js';
import { formatMetric, formatSeconds } from '../ui/format.js';

interface TrainOptions extends RunOptions {
  density?: string;
  seed: number;
  out: string;
  log?: string;
  tensorboard?: string;
  wandb?: string;
  saveSteps?: number;
  saveEpochs?: boolean;
  saveBest?: boolean;
  saveTotalLimit?: number;
  loadBest?: boolean;
  resume?: boolean;
  reference?: string;
}

/** `deftune train`: one run, PEFT or (with --density) DEFT. */
export const train = addRunOptions(
  new Command('train').description('fine-tune a model; with --density, make it sparse as well'),
)
  .requiredOption('--out <dir>', 'where the adapter is written')
  .addOption(new Option('--density <loss>', 'density loss (default: none, plain PEFT)').choices(DENSITY_LOSSES))
  .option('--seed <n>', 'seed of the order, the new weights and dropout', integer, 0)
  .option('--log <file>', 'write one JSON line a step')
  .option('--tensorboard <dir>', 'write TensorBoard event files')
  .option('--wandb <project>', 'send the run to Weights & Biases (needs the package @wandb/sdk)')
  .option('--save-steps <n>', 'save a checkpoint in DIR/checkpoint-STEP each N steps', integer)
  .option('--save-epochs', 'save a checkpoint after each epoch')
  .option('--save-best', 'save a checkpoint at each best evaluation so far')
  .option('--save-total-limit <n>', 'checkpoints to keep, the best and the newest always (default: all)', integer)
  .option('--load-best', 'end with the parameters of the best evaluation')
  .option('--resume', 'go on from the newest complete checkpoint in --out')
  .option(
    '--reference <dir>',
    "--max-metric-drop: folder of the plain run to count from, or none: the run's own best (default: train one first, in DIR/plain)",
  )
  .action(async (options: TrainOptions) => {
    checkOutputFolder(options.out);
    if (options.log !== undefined) checkOutputFile(options.log);
    if (options.tensorboard !== undefined) checkOutputFolder(options.tensorboard);
    if (resolve(options.out) === resolve(options.model)) {
      throw new DeftuneError(
        `--out is ${options.out}, the model's own folder; expected another, for the model to stay`,
      );
    }
    checkCheckpoints(options);
    const data = await loadData(options, 'train');
    const backend = await createBackend(options);
    const isPlain = options.density === undefined && densityBudget(options) === undefined;
    if (isPlain) {
      const given = DENSITY_OPTIONS.filter((name) => options[name] !== undefined);
      warn(given.map((name) => `${name} has no effect without --density, which makes a run DEFT`));
    }
    if (!options.layerGates && options.adapter === undefined) {
      const given = GATE_OPTIONS.filter((name) => options[name] !== undefined);
      warn(given.map((name) => `${name} has no effect without --layer-gates`));
    }
    const settings = isPlain ? undefined : densitySettings(options, options.density);
    if (options.reference !== undefined && settings?.budget?.maxMetricDrop === undefined) {
      warn(['reference has no effect without --max-metric-drop, which is counted from it']);
    }
    let log: JsonLinesWriter | undefined;
    const write = (entry: unknown): void => {
      if (options.log === undefined) return;
      log ??= new JsonLinesWriter(options.log, { append: options.resume });
      log.write(entry);
    };
    const callbacks = await loggers(options);
    const interruption = catchSignals();
    const outcome = await runs({ options, data, backend, signal: interruption.signal }, settings, {
      callbacks,
      onStep: write,
      onEvaluate: write,
    }).finally(() => {
      log?.close();
      interruption.release();
    });
    if ('interrupted' in outcome) {
      const { steps, out } = outcome.interrupted;
      const resume = `checkpoint: ${out}/checkpoint-${steps}; --resume goes on from it`;
      print(
        { interrupted: true, steps, out: options.out },
        [`interrupted after ${steps} steps; ${steps > 0 ? resume : 'nothing to save'}`],
        options.json,
      );
      process.exitCode = interruption.exitCode();
      return;
    }
    const { run, reference } = outcome;
    const { model, result } = run;
    const { evaluation } = result;
    const plain = reference?.evaluations.at(-1);
    const last = result.log.at(-1);
    const summary = {
      out: options.out,
      method: run.method,
      density: run.density ?? null,
      ...(model.layerGates ? { layerGates: model.layerGates } : {}),
      trainable: model.describeTrainable(),
      steps: result.steps,
      resumedAfter: result.resumedAfter,
      ended: result.ended,
      best: result.best ?? null,
      ...(reference ? { reference: { directory: reference.directory, ...plain } } : {}),
      evaluations: result.evaluations,
      seconds: result.seconds,
      loss: last?.loss,
      trainExamples: run.trainExamples,
      validExamples: run.validExamples,
      evaluation: evaluation && evaluationJson(evaluation),
      ...otherSetsJson(run.otherSets),
      warnings: run.warnings,
      machine: describeMachine(backend),
    };
    saveAdapter(model, options.out, options.model, { density: run.densityRecord, training: summary });
    for (const notice of run.notices) process.stderr.write(`note: ${notice}\n`);
    warn(run.warnings);
    const scored = evaluation
      ? `${evaluation.metricName} ${formatMetric(evaluation.metric)}, ${describeDensity(evaluation)} on ${run.validExamples} validation examples`
      : `loss ${last?.loss.toFixed(4)}, ${describeDensity(last ?? { density: Number.NaN })} at the last step`;
    print(
      summary,
      [
        `${run.method}; ${model.describeTrainable()}`,
        `${result.steps} steps in ${formatSeconds(result.seconds)} on ${describeMachine(backend)}`,
        scored,
        ...(reference && plain ? [describeReference(plain, reference.directory)] : []),
        ...(model.layerGates ? [describeGates(model.layerGates)] : []),
        ...run.otherSets.map(({ name, evaluation }) => describeEvaluation(evaluation, name)),
        `adapter: ${options.out}`,
      ],
      options.json,
    );
  });

/** The run, and before it the plain one that its budget is counted from, where there is none yet. */
async function runs(
  own: Pick<TrainingRun, 'data' | 'backend' | 'signal'> & { options: TrainOptions },
  density: DensitySettings | undefined,
  listeners: Pick<TrainingRun, 'callbacks' | 'onStep' | 'onEvaluate'>,
): Promise<{ run: FinishedRun; reference: PlainReference | undefined } | { interrupted: Interruption }> {
  const { options } = own;
  const shared = { ...own, seed: options.seed, isGated: options.layerGates };
  let reference: PlainReference | undefined;
  if (density?.budget?.maxMetricDrop !== undefined && options.reference !== 'none') {
    const out = plainFolder(options.out);
    const label = 'PEFT, for the budget';
    const outcome =
      options.reference === undefined
        ? await trainReference({ ...shared, density, label, out, saving: saving(options, out) })
        : { reference: readReference(options.reference) };
    if ('interrupted' in outcome) return outcome;
    reference = outcome.reference;
  }
  const run = await trainingRun({
    ...{ ...shared, ...listeners, label: density ? 'DEFT' : 'PEFT' },
    density: withReference(density, reference?.evaluations),
    saving: saving(options, options.out),
  });
  const { ended, steps } = run.result;
  return ended === 'aborted' ? { interrupted: { steps, out: options.out } } : { run, reference };
}

/** What else is told of the run. */
async function loggers({ tensorboard, wandb, ...config }: TrainOptions): Promise<TrainerCallback[]> {
  return [
    ...(tensorboard === undefined ? [] : [tensorBoard(tensorboard)]),
    ...(wandb === undefined ? [] : [await weightsAndBiases({ project: wandb, config: { ...config } })]),
  ];
}

/** Checkpoints of another run would be taken for this run's by a later --resume. */
function checkCheckpoints({ out, resume }: TrainOptions): void {
  for (const folder of resume ? [] : [out, plainFolder(out)]) {
    const steps = checkpointSteps(folder);
    if (steps.length === 0) continue;
    throw new DeftuneError(
      `${folder} has checkpoints of an earlier run (the newest of step ${steps.at(-1)}), expected --resume to go on from it, or another --out`,
    );
  }
}

/** Where and when checkpoints are saved; an interrupted run saves one in any case. */
function saving(options: TrainOptions, out: string): Saving {
  return {
    store: (model, recorder) =>
      checkpointDirectory(out, {
        saveTotalLimit: options.saveTotalLimit,
        extraFiles: () => adapterFiles(model, options.model, { density: recorder.record() }),
        onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
      }),
    args: {
      ...(options.saveSteps === undefined ? {} : { saveSteps: options.saveSteps }),
      saveEpochs: options.saveEpochs ?? false,
      saveBest: options.saveBest ?? false,
      loadBestModelAtEnd: options.loadBest ?? false,
    },
    resume: options.resume ?? false,
  };
}
