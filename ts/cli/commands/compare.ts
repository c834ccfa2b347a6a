import { Command, Option } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DENSITY_LOSSES } from '../../density/losses/index.js';
import { checkOutputFolder } from '../../io/files-node.js';
import { compareTable } from '../../report/compare-table.js';
import { collectWarnings, summarize } from '../../report/summarize.js';
import { compareRuns } from '../compare-runs.js';
import { densitySettings } from '../density-settings.js';
import { addRunOptions, integers, type RunOptions } from '../options.js';
import { print, warn } from '../output.js';

interface CompareOptions extends RunOptions {
  density?: string;
  seeds: number[];
  out: string;
}

/** `deftune compare`: the paper's table for one model and data set. */
export const compare = addRunOptions(
  new Command('compare').description('train PEFT and DEFT from the same seeds and compare them'),
)
  .option('--seeds <list>', 'seeds, by comma', integers, [0, 1, 2])
  .addOption(
    new Option('--density <loss>', "density loss of DEFT (default: by the model's activation)").choices(DENSITY_LOSSES),
  )
  .option('--out <dir>', 'where report.html and report.json are written', 'deftune-report')
  .action(async (options: CompareOptions) => {
    checkOutputFolder(options.out);
    const backend = await createBackend(options);
    const result = await compareRuns({
      options,
      seeds: options.seeds,
      density: densitySettings(options, options.density),
      backend,
      command: `deftune ${process.argv.slice(2).join(' ')}`,
      onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
    });
    // Loaded when needed: its plotting library takes longer to load than most commands to run.
    const { writeReport } = await import('../../report/write-report-node.js');
    const report = writeReport(options.out, result);
    // The table for people has them below it.
    if (options.json) warn(collectWarnings(result));
    print({ summary: summarize(result), ...result, report }, [compareTable(result), `report: ${report}`], options.json);
  });
