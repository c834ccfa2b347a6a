import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { checkOutputFolder } from '../../io/files-node.js';
import { compareTable } from '../../report/compare-table.js';
import { collectWarnings, summarize } from '../../report/summarize.js';
import { compareRuns } from '../compare-runs.js';
import { addCommonOptions, integer, type CommonOptions } from '../options.js';
import { print, warn } from '../output.js';

interface DemoOptions extends CommonOptions {
  out: string;
  epochs: number;
  seed: number;
}

/** File of the bundled model and sentences. */
function bundled(path: string): string {
  return fileURLToPath(new URL(`../../../assets/${path}`, import.meta.url));
}

/** `deftune demo`: PEFT against DEFT on the bundled model; no network, about a minute. */
export const demo = addCommonOptions(new Command('demo'))
  .description('PEFT against DEFT on the bundled model and sentences (about a minute, no network)')
  .option('--out <dir>', 'where the report is written: HTML, JSON, SVG and CSV', 'deftune-report')
  .option('--epochs <n>', 'passes over the bundled sentences', integer, 18)
  .option('--seed <n>', 'seed', integer, 0)
  .action(async (options: DemoOptions) => {
    checkOutputFolder(options.out);
    const backend = await createBackend(options);
    const result = await compareRuns({
      options: {
        ...options,
        model: bundled('bert-mini-relu'),
        trainFile: bundled('sst2-sample/train.tsv'),
        validFile: bundled('sst2-sample/valid.tsv'),
        warmup: 0.1,
        shuffle: true,
      },
      seeds: [options.seed],
      densities: [{ loss: {} }],
      backend,
      command: 'deftune demo',
    });
    result.model = 'bert-mini-relu (bundled)';
    result.data = 'SST-2, bundled sample';
    // Loaded when needed: its plotting library takes longer to load than most commands to run.
    const { writeReport } = await import('../../report/write-report-node.js');
    const report = writeReport(options.out, result);
    // The table for people has them below it.
    if (options.json) warn(collectWarnings(result));
    print({ summary: summarize(result), ...result, report }, [compareTable(result), `report: ${report}`], options.json);
  });
