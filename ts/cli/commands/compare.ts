import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFolder } from '../../io/files-node.js';
import { compareTable } from '../../report/compare-table.js';
import type { CompareResult } from '../../report/compare-result.js';
import { alphasOf, collectWarnings, summarize, withAlpha } from '../../report/summarize.js';
import { compareRuns } from '../compare-runs.js';
import { densityBudget, densitySettings } from '../density-settings.js';
import { addDensityOption, addRunOptions, integers, type RunOptions } from '../options.js';
import { print, warn } from '../output.js';

interface CompareOptions extends Omit<RunOptions, 'alpha'> {
  alpha?: number[];
  density?: string;
  seeds: number[];
  out: string;
}

/** `deftune compare`: the paper's table for one model and data set. */
export const compare = addDensityOption(
  addRunOptions(new Command('compare').description('train PEFT and DEFT from the same seeds and compare them'), {
    severalAlphas: true,
  }),
)
  .option('--seeds <list>', 'seeds, by comma', integers, [0, 1, 2])
  .option('--out <dir>', 'where the report is written: HTML, JSON, SVG and CSV', 'deftune-report')
  .action(async ({ alpha: alphas = [], ...options }: CompareOptions) => {
    checkOutputFolder(options.out);
    if (alphas.length > 1 && densityBudget(options)) {
      throw new DeftuneError(`--alpha is ${alphas.join(',')}, expected one with a budget, which finds alpha by itself`);
    }
    const repeated = alphas.find((alpha, index) => alphas.indexOf(alpha) !== index);
    if (repeated !== undefined) throw new DeftuneError(`--alpha has ${repeated} twice, expected it once`);
    const each = alphas.length > 0 ? alphas : [undefined];
    const backend = await createBackend(options);
    const result = await compareRuns({
      options,
      seeds: options.seeds,
      densities: each.map((alpha) =>
        densitySettings({ ...options, ...(alpha === undefined ? {} : { alpha }) }, options.density),
      ),
      backend,
      command: `deftune ${process.argv.slice(2).join(' ')}`,
      onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
    });
    // Loaded when needed: its plotting library takes longer to load than most commands to run.
    const { writeReport } = await import('../../report/write-report-node.js');
    const report = writeReport(options.out, result);
    // The table for people has them below it.
    if (options.json) warn(collectWarnings(result));
    print({ ...summaries(result), ...result, report }, [compareTable(result), `report: ${report}`], options.json);
  });

/** The summary, or of a sweep one for each alpha. */
function summaries(result: CompareResult): object {
  const alphas = alphasOf(result.runs);
  if (alphas.length < 2) return { summary: summarize(result) };
  return { sweep: alphas.map((alpha) => ({ alpha, ...summarize(withAlpha(result, alpha)) })) };
}
