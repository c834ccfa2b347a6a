import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFile, checkOutputFolder } from '../../io/files-node.js';
import { saveAdapter } from '../../peft/peft-files-node.js';
import { describeMachine } from '../describe-machine.js';
import { JsonLinesWriter } from '../json-lines-writer.js';
import { loadData } from '../load-data.js';
import { addRunOptions, integer, type RunOptions } from '../options.js';
import { print, warn } from '../output.js';
import { trainingRun } from '../training-run.js';
import { formatPercent, formatSeconds } from '../ui/format.js';

interface TrainOptions extends RunOptions {
  density?: 'tanh' | 'l0';
  seed: number;
  out: string;
  log?: string;
}

/** `deftune train`: one run, PEFT or (with --density) DEFT. */
export const train = addRunOptions(
  new Command('train').description('fine-tune a model; with --density, make it sparse as well'),
)
  .requiredOption('--out <dir>', 'where the adapter is written')
  .addOption(
    new Option('--density <loss>', 'density loss: tanh or l0 (default: none, plain PEFT)').choices(['tanh', 'l0']),
  )
  .option('--seed <n>', 'seed of the order, the new weights and dropout', integer, 0)
  .option('--log <file>', 'write one JSON line a step')
  .action(async (options: TrainOptions) => {
    checkOutputFolder(options.out);
    if (options.log !== undefined) checkOutputFile(options.log);
    if (resolve(options.out) === resolve(options.model)) {
      throw new DeftuneError(
        `--out is ${options.out}, the model's own folder; expected another, for the model to stay`,
      );
    }
    const data = await loadData(options, 'train');
    const backend = await createBackend(options);
    if (options.density === undefined) {
      const given = (['alpha', 'beta', 'eps', 'densityForm'] as const).filter((name) => options[name] !== undefined);
      warn(given.map((name) => `${name} has no effect without --density, which makes a run DEFT`));
    }
    const density = options.density && {
      loss: options.density,
      form: options.densityForm,
      alpha: options.alpha,
      beta: options.beta,
      eps: options.eps,
    };
    let log: JsonLinesWriter | undefined;
    const write = (entry: unknown): void => {
      if (options.log === undefined) return;
      log ??= new JsonLinesWriter(options.log);
      log.write(entry);
    };
    const { model, result, ...run } = await trainingRun({
      options,
      data,
      backend,
      seed: options.seed,
      density,
      label: density ? 'DEFT' : 'PEFT',
      onStep: write,
      onEvaluate: write,
    }).finally(() => log?.close());
    const { evaluation } = result;
    const last = result.log.at(-1);
    const summary = {
      out: options.out,
      method: run.method,
      density: run.density ?? null,
      trainable: model.describeTrainable(),
      steps: result.steps,
      seconds: result.seconds,
      loss: last?.loss,
      trainExamples: run.trainExamples,
      validExamples: run.validExamples,
      evaluation: evaluation && {
        ...evaluation.metrics,
        loss: evaluation.loss,
        density: evaluation.density,
        layerDensity: evaluation.layerDensity,
      },
      warnings: run.warnings,
      machine: describeMachine(backend),
    };
    saveAdapter(model, options.out, options.model, { training: summary });
    for (const notice of run.notices) process.stderr.write(`note: ${notice}\n`);
    warn(run.warnings);
    const outcome = evaluation
      ? `${evaluation.metricName} ${formatPercent(evaluation.metric, 2)}, density ${formatPercent(evaluation.density, 2)} on ${run.validExamples} validation examples`
      : `loss ${last?.loss.toFixed(4)}, density ${formatPercent(last?.density ?? Number.NaN, 2)} at the last step`;
    print(
      summary,
      [
        `${run.method}; ${model.describeTrainable()}`,
        `${result.steps} steps in ${formatSeconds(result.seconds)} on ${describeMachine(backend)}`,
        outcome,
        `adapter: ${options.out}`,
      ],
      options.json,
    );
  });
