import type { Backend } from '../backend/backend.js';
import { AutoTokenizer } from '../data/auto-tokenizer-node.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { AutoModel } from '../models/auto-model-node.js';
import type { Head } from '../heads/head.js';
import type { Model, ModelOptions } from '../models/model.js';
import { applyAdapter, readAdapter } from '../peft/peft-files-node.js';
import type { PeftModel } from '../peft/peft-model.js';

/** A model ready to run, with its adapter and tokenizer where there are any. */
export interface OpenedModel {
  base: Model;
  peft: PeftModel | undefined;
  tokenizer: Tokenizer | undefined;
}

/** Opens a model directory and, on top of it, an adapter; the adapter's labels win over the model's. */
export async function openModel(
  paths: { model: string; adapter?: string | undefined },
  backend: Backend,
  head: Head,
  options: ModelOptions = {},
): Promise<OpenedModel> {
  const adapter = paths.adapter === undefined ? undefined : readAdapter(paths.adapter);
  const labelNames = options.labelNames ?? adapter?.sidecar.labelNames;
  const base = await AutoModel.fromPretrained(paths.model, {
    ...options,
    backend,
    head: head.name,
    numLabels: options.numLabels ?? adapter?.numLabels,
    labelNames: labelNames?.length ? labelNames : undefined,
  });
  const peft = adapter ? applyAdapter(base, adapter) : undefined;
  return { base, peft, tokenizer: await openTokenizer(paths.model) };
}

/** The directory's tokenizer; undefined where it has none (then only `inputIds` can be read). */
async function openTokenizer(directory: string): Promise<Tokenizer | undefined> {
  return AutoTokenizer.isIn(directory) ? AutoTokenizer.fromPretrained(directory) : undefined;
}
