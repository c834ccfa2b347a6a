import process from 'node:process';
import { Argument, Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFolder } from '../../io/files-node.js';
import type { GridResult } from '../../report/grid-result.js';
import { gridTable, gridWarnings } from '../../report/grid-table.js';
import { catchSignals } from '../catch-signals.js';
import { describeMachine } from '../describe-machine.js';
import {
  addCommonOptions,
  addDensityOption,
  addTrainingOptions,
  integers,
  list,
  type CommonOptions,
} from '../options.js';
import { print, warn } from '../output.js';
import { describePlan } from '../reproduce/describe-plan.js';
import { findFolders, type Places } from '../reproduce/find-folders.js';
import { gridNames, readGrid, withModules } from '../reproduce/grid.js';
import { gridOutcome } from '../reproduce/grid-outcome.js';
import { planGrid } from '../reproduce/plan.js';
import { runGrid } from '../reproduce/run-grid.js';
import { RunStore } from '../reproduce/run-store.js';
import { version } from '../version.js';

interface ReproduceOptions extends CommonOptions, Places {
  modules?: string[];
  seeds?: number[];
  out: string;
  dryRun?: boolean;
}

/** Options of this command that are no settings of its runs. */
const OWN = [
  ...['backend', 'threads', 'json', 'debug', 'config'],
  ...['models', 'data', 'map', 'modules', 'seeds', 'out', 'dryRun'],
];

/** `deftune reproduce`: a grid of the paper on the models and data that are there. */
export const reproduce = addDensityOption(addTrainingOptions(addCommonOptions(new Command('reproduce'))))
  .description('run a grid of the paper, PEFT and DEFT, on the models and data that are there; ours beside the paper’s')
  .addArgument(new Argument('<grid>', `${gridNames().join(', ')}, or a JSON file`))
  .option('--models <dir>', 'folder of the models, each in a folder of its name')
  .option('--data <dir>', 'folder of the data sets, each in a folder of its name')
  .option('--map <file>', 'JSON: which folder stands for which model and data set')
  .option('--modules <list>', "some of the grid's modules, by comma (default: all)", list)
  .option('--seeds <list>', "seeds, by comma (default: the grid's)", integers)
  .option('--out <dir>', 'where finished runs are kept and the report is written', 'deftune-reproduction')
  .option('--dry-run', 'print what would be run, and with which settings')
  .action(async (name: string, options: ReproduceOptions) => {
    checkOutputFolder(options.out);
    const grid = withModules(readGrid(name), options.modules);
    const given = Object.entries(options).filter(([key, value]) => !OWN.includes(key) && !(key === 'shuffle' && value));
    const seeds = options.seeds ?? grid.seeds;
    const repeated = seeds.find((seed, index) => seeds.indexOf(seed) !== index);
    if (repeated !== undefined) throw new DeftuneError(`--seeds has ${repeated} twice, expected it once`);
    const plan = planGrid(grid, findFolders(grid, options), seeds, Object.fromEntries(given));
    const store = new RunStore(options.out);
    if (options.dryRun) {
      const { lines, json } = describePlan(plan, store);
      print({ grid: name, title: grid.title, seeds, ...json }, [grid.title, ...lines], options.json);
      return;
    }
    const backend = await createBackend(options);
    const interruption = catchSignals();
    const noticed = new Set<string>();
    const failed = await runGrid(plan, {
      store,
      backend,
      signal: interruption.signal,
      onNotice(notice) {
        if (!noticed.has(notice)) process.stderr.write(`note: ${notice}\n`);
        noticed.add(notice);
      },
    }).finally(() => {
      interruption.release();
    });
    const result: GridResult = {
      version,
      date: new Date().toISOString(),
      machine: `${describeMachine(backend)}, node ${process.version}`,
      command: `deftune ${process.argv.slice(2).join(' ')}`,
      title: grid.title,
      figures: grid.figures,
      ...gridOutcome(plan, store),
      ...{ skipped: plan.skipped, failed, runsPlanned: plan.runs.length },
    };
    // Loaded when needed: its plotting library takes longer to load than most commands to run.
    const { writeGridReport } = await import('../../report/write-report-node.js');
    const report = writeGridReport(options.out, result);
    if (options.json) warn(gridWarnings(result));
    const more = interruption.signal.aborted ? ['interrupted; the same command goes on'] : [];
    print({ ...result, report }, [gridTable(result), ...more, `report: ${report}`], options.json);
    if (interruption.signal.aborted) process.exitCode = interruption.exitCode();
    else if (failed.length > 0) process.exitCode = 1;
  });
