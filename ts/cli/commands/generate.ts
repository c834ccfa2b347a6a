import { resolve } from 'node:path';
import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { readRecords } from '../../data/records-node.js';
import { DeftuneError } from '../../error.js';
import { generate as generateTokens } from '../../generation/generate.js';
import { checkOutputFile, writeFileAtomic } from '../../io/files-node.js';
import { chooseHead } from '../choose-head.js';
import { openModel } from '../open-model.js';
import {
  addCommonOptions,
  addModelOptions,
  integer,
  number,
  type CommonOptions,
  type ModelPathOptions,
} from '../options.js';
import { print, truncationNotes, warn } from '../output.js';
import { formatCount, formatSeconds } from '../ui/format.js';
import { createProgress } from '../ui/progress.js';

interface GenerateOptions extends CommonOptions, ModelPathOptions {
  input: string;
  output: string;
  maxNewTokens: number;
  numBeams?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  batchSize: number;
}

/** `deftune generate`: texts that a language model or an encoder-decoder writes. */
export const generate = addModelOptions(addCommonOptions(new Command('generate')))
  .description('write on after prompts, or answer them with an encoder-decoder: one JSON line each, in their order')
  .requiredOption('--input <file>', 'records with text or inputIds (or question and context)')
  .requiredOption('--output <file>', 'JSONL file to write: {"outputIds", "text"}, the new tokens only')
  .option('--max-new-tokens <n>', 'most tokens to write', integer, 20)
  .option('--num-beams <n>', 'beams of a beam search (default: 1, greedy)', integer)
  .option('--temperature <x>', 'sample: logits are divided by it (default: 1)', number)
  .option('--top-k <n>', 'sample from the likeliest n tokens, 0: from all (default: 50)', integer)
  .option('--top-p <x>', 'sample from the likeliest tokens that together have this probability (default: 1)', number)
  .option('--seed <n>', 'seed of the sampling (default: 0)', integer)
  .option('--batch-size <n>', 'prompts a batch', integer, 16)
  .action(async (options: GenerateOptions) => {
    checkOutputFile(options.output);
    if (resolve(options.output) === resolve(options.input)) {
      throw new DeftuneError(
        `--output is ${options.output}, the input file; expected another, for the records to stay`,
      );
    }
    const { maxNewTokens, numBeams, temperature, topK, topP, seed, batchSize } = options;
    if (seed !== undefined && [temperature, topK, topP].every((setting) => setting === undefined)) {
      warn(['--seed has no effect without --temperature, --top-k or --top-p, which ask for sampling']);
    }
    const records = await readRecords(options.input);
    const backend = await createBackend(options);
    const head = chooseHead(options);
    const { base, tokenizer, textLimit } = await openModel(options, backend, head, {
      onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
    });
    // A decoder's positions hold what is written as well; the last token is not read again.
    const { maxLength, decoderStartTokenId } = base.info;
    const room = decoderStartTokenId === undefined ? maxLength - maxNewTokens + 1 : maxLength;
    if (room < 1) {
      throw new DeftuneError(
        `--max-new-tokens is ${maxNewTokens}, expected at most ${maxLength}, the positions of the model`,
      );
    }
    let truncated = 0;
    const info = { ...base.info, maxLength: room };
    const prompts = records.map((record) => {
      const where = `${options.input}:${record.line}`;
      if (!head.toPrompt) throw new DeftuneError(`${options.model}: ${writesNoText(head.name)}`);
      return head.toPrompt(record, { tokenizer, info, where, onTruncated: () => (truncated += 1) });
    });
    const progress = createProgress(prompts.length, { label: 'generate' });
    const started = performance.now();
    const written = await generateTokens(base, prompts, {
      maxNewTokens,
      numBeams,
      temperature,
      topK,
      topP,
      seed,
      batchSize,
      onProgress: (done) => {
        progress.update(done);
      },
    }).finally(() => {
      progress.stop();
    });
    const seconds = (performance.now() - started) / 1000;
    const lines = written.map((outputIds) => ({
      outputIds,
      ...(tokenizer ? { text: tokenizer.decode(outputIds, { skipSpecialTokens: true }) } : {}),
    }));
    writeFileAtomic(options.output, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    warn(truncationNotes(truncated, Math.min(room, textLimit)));
    const tokens = written.reduce((sum, ids) => sum + ids.length, 0);
    print(
      { output: options.output, examples: lines.length, tokens, truncated, seconds },
      [`${lines.length} texts of ${formatCount(tokens)} tokens in ${formatSeconds(seconds)}: ${options.output}`],
      options.json,
    );
  });

function writesNoText(name: string): string {
  return `the head ${name} writes no text, expected one that does, e.g. --head CausalLM`;
}
