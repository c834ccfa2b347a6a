#!/usr/bin/env node
import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { calibrate } from './commands/calibrate.js';
import { compare } from './commands/compare.js';
import { convert } from './commands/convert.js';
import { demo } from './commands/demo.js';
import { density } from './commands/density.js';
import { evalCommand } from './commands/eval.js';
import { generate } from './commands/generate.js';
import { info } from './commands/info.js';
import { predict } from './commands/predict.js';
import { reproduce } from './commands/reproduce.js';
import { train } from './commands/train.js';
import { withConfigFile } from './config-file.js';
import { version } from './version.js';

const program = new Command('deftune')
  .description('Fine-tune pretrained transformers on CPUs, and make them sparse while doing so.')
  .version(version)
  .configureOutput({
    // One line, as every other error: commander puts its suggestion on a second.
    outputError: (text, write) => {
      write(`${text.trim().replace(/\s*\n\s*/g, ' ')} (--help shows the options)\n`);
    },
  });
for (const command of [
  demo,
  train,
  evalCommand,
  predict,
  generate,
  density,
  calibrate,
  compare,
  reproduce,
  convert,
  info,
]) {
  program.addCommand(command.copyInheritedSettings(program));
}

try {
  await program.parseAsync(withConfigFile(program, process.argv));
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode);
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`error: ${message.split('\n')[0]}\n`);
  if (process.argv.includes('--debug') && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
}
