import type { Backend } from '../backend/backend.js';
import { AutoTokenizer } from '../data/auto-tokenizer-node.js';
import { ImageReader } from '../data/image-reader-node.js';
import type { RecordFile } from '../data/records-node.js';
import { readActivationThresholds } from '../density/threshold-files-node.js';
import type { TaskWords } from '../data/text-to-text.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { DeftuneError } from '../error.js';
import { AutoModel } from '../models/auto-model-node.js';
import { textLimit } from '../heads/encode-text.js';
import type { Head } from '../heads/head.js';
import { prepareExamples, type PreparedExamples } from '../heads/prepare-examples.js';
import type { Model, ModelOptions } from '../models/model.js';
import { setActivationThresholds, type ActivationThresholds } from '../nn/activation-thresholds.js';
import {
  applyAdapter,
  readAdapter,
  skippedMlps,
  withGateSettings,
  type StoredAdapter,
} from '../peft/peft-files-node.js';
import type { PeftModel } from '../peft/peft-model.js';
import { gateSettings } from './gate-settings.js';
import type { ModelPathOptions, RunOptions } from './options.js';

/** A model ready to run, with its adapter and what reads its inputs where there are any. */
export interface OpenedModel {
  base: Model;
  peft: PeftModel | undefined;
  tokenizer: Tokenizer | undefined;
  /** Tokens that a text is cut to. */
  textLimit: number;
  /** Turns the records of a file into examples. @throws DeftuneError naming the record that cannot be read, images included */
  prepare(file: FileToPrepare): Promise<PreparedExamples>;
}

/** A file of records, with their labels where they have any, and how a head that answers in words puts them into words. */
export type FileToPrepare = RecordFile & { labels?: readonly number[] | undefined; task?: TaskWords | undefined };

/**
 * Opens a model directory and, on top of it, an adapter; the adapter's labels win over the model's. MLPs that the adapter's gates skip are left
 * out, unless `skipMlps` says which; thresholds of activations that the command line gives replace the adapter's.
 */
export async function openModel(
  paths: ModelPathOptions & Pick<RunOptions, 'gatePenalty' | 'gateRate'>,
  backend: Backend,
  head: Head,
  options: ModelOptions = {},
): Promise<OpenedModel> {
  const adapter =
    paths.adapter === undefined ? undefined : withGateSettings(readAdapter(paths.adapter), gateSettings(paths));
  if (!adapter && !options.skipMlps && paths.skipThreshold !== undefined) {
    throw new DeftuneError(`--skip-threshold is ${paths.skipThreshold}, expected an --adapter with gates beside it`);
  }
  const skipMlps = options.skipMlps ?? (adapter && skippedMlps(adapter));
  const base = await openBase(paths, backend, head, adapter, { ...options, skipMlps });
  const peft = adapter ? applyAdapter(base, adapter) : undefined;
  if (paths.activationThresholds !== undefined) setActivationThresholds(base, thresholds(paths.activationThresholds));
  const tokenizer = await openTokenizer(paths.model);
  const images = ImageReader.fromPretrained(paths.model);
  return {
    base,
    peft,
    tokenizer,
    textLimit: textLimit(base.info, tokenizer) ?? Infinity,
    async prepare({ records, fileName, labels, task }) {
      await images?.check(records, fileName);
      const context = { head: base.head, info: base.info, tokenizer, readImage: images?.read };
      return prepareExamples(records, { ...context, fileName, labels, task });
    },
  };
}

/** What --activation-thresholds says: a number, or a file. */
function thresholds(given: string): ActivationThresholds | number {
  const all = given.trim() === '' ? Number.NaN : Number(given);
  return Number.isNaN(all) ? readActivationThresholds(given) : all;
}

/** Opens a model directory for an adapter: with its labels, unless others are asked for. */
export function openBase(
  { model, precision, activation }: Pick<ModelPathOptions, 'model' | 'precision' | 'activation'>,
  backend: Backend,
  head: Head,
  adapter?: StoredAdapter,
  options: ModelOptions = {},
): Promise<Model> {
  const labelNames = options.labelNames ?? adapter?.sidecar.labelNames;
  return AutoModel.fromPretrained(model, {
    precision,
    activation: activation ?? adapter?.sidecar.activation,
    ...options,
    backend,
    head: head.name,
    numLabels: options.numLabels ?? adapter?.numLabels,
    labelNames: labelNames?.length ? labelNames : undefined,
  });
}

/** The directory's tokenizer; undefined where it has none (then only `inputIds` can be read). */
async function openTokenizer(directory: string): Promise<Tokenizer | undefined> {
  return AutoTokenizer.isIn(directory) ? AutoTokenizer.fromPretrained(directory) : undefined;
}
