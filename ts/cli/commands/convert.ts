import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFolder } from '../../io/files-node.js';
import type { AdapterFormat } from '../../peft/peft-files.js';
import { convertAdapter, readAdapter } from '../../peft/peft-files-node.js';
import { chooseHead } from '../choose-head.js';
import { openBase } from '../open-model.js';
import { addCommonOptions, addModelOptions, type CommonOptions, type ModelPathOptions } from '../options.js';
import { print } from '../output.js';

interface ConvertOptions extends CommonOptions, ModelPathOptions {
  out: string;
  format?: AdapterFormat;
}

/** `deftune convert`: an adapter of peft as one of AdapterHub, and the other way round. */
export const convert = addModelOptions(addCommonOptions(new Command('convert')))
  .description("write an adapter of peft in the format of AdapterHub's adapters, or the other way round")
  .requiredOption('--out <dir>', 'where the adapter is written')
  .addOption(
    new Option('--format <name>', 'peft or adapters (default: the one that the adapter is not in)').choices([
      'peft',
      'adapters',
    ]),
  )
  .action(async (options: ConvertOptions) => {
    if (options.adapter === undefined) throw new DeftuneError('--adapter is missing, expected the adapter to convert');
    checkOutputFolder(options.out);
    if (resolve(options.out) === resolve(options.model)) {
      throw new DeftuneError(`--out is ${options.out}, the model's own folder; expected another`);
    }
    const adapter = readAdapter(options.adapter);
    const base = await openBase(options, await createBackend(options), chooseHead(options), adapter);
    const format = options.format ?? (adapter.format === 'peft' ? 'adapters' : 'peft');
    convertAdapter(base, adapter, options.out, options.model, format);
    print(
      { adapter: options.adapter, from: adapter.format, to: format, out: options.out },
      [`${options.adapter} (${adapter.format}) written to ${options.out} (${format})`],
      options.json,
    );
  });
