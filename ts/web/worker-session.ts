import { createBackend, init } from '../backend/create-backend-browser.js';
import type { Example } from '../data/batching.js';
import type { ResolvedLabels } from '../data/labels.js';
import type { DataRecord } from '../data/record.js';
import { getTask } from '../data/tasks/index.js';
import { taskWords, type TaskWords } from '../data/text-to-text.js';
import { hasTokenizer, tokenizerIn } from '../data/tokenizer-files.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { densityTerm } from '../density/density-term.js';
import { DeftuneError } from '../error.js';
import { textLimit } from '../heads/encode-text.js';
import { prepareExamples } from '../heads/prepare-examples.js';
import { memoryFolder, type Files, type Folder } from '../io/folder.js';
import { modelIn } from '../models/model-in-folder.js';
import { adapterContent, adapterIn, applyAdapter, skippedMlps } from '../peft/peft-files.js';
import { gatePenalty } from '../peft/gate-penalty.js';
import { getPeftModel, type PeftModel } from '../peft/peft-model.js';
import { checkpointMemory } from '../train/checkpoint-memory.js';
import { DensityRecorder } from '../train/density-recorder.js';
import { evaluate, predict } from '../train/evaluate.js';
import { Trainer } from '../train/trainer.js';
import { activationMap } from '../density/activation-map.js';
import { opfsCheckpoints } from './checkpoint-opfs.js';
import { fetchModel } from './fetch-model.js';
import { resolveRecords } from './resolve-records.js';
import type { WorkerCalls, WorkerEvents, WorkerInfo, WorkerJob } from './worker-protocol.js';

/** What a call to open a job leaves behind. */
interface Opened {
  model: PeftModel;
  trainer: Trainer | undefined;
  /** Of a run, what is said beside its adapter. */
  recorder?: DensityRecorder;
  tokenizer: Tokenizer | undefined;
  folder: Folder;
  words: TaskWords | undefined;
  batchSize: number | undefined;
  metricNames: readonly string[] | undefined;
}

type Calls = {
  [Name in keyof WorkerCalls]: (argument: Parameters<WorkerCalls[Name]>[0]) => Promise<ReturnType<WorkerCalls[Name]>>;
};

/** One model in a worker, and the run that trains it. Calls may overlap: a run gives way between its steps. */
export class WorkerSession implements Calls {
  private opened: Opened | undefined;
  private stopping = new AbortController();
  /** Resolves when a run that pauses may go on. */
  private paused: Promise<void> | undefined;
  private goOn: (() => void) | undefined;

  constructor(
    private readonly tell: <Name extends keyof WorkerEvents>(event: Name, ...values: WorkerEvents[Name]) => void,
  ) {}

  pause(): void {
    this.paused ??= new Promise((resolve) => {
      this.goOn = resolve;
    });
  }

  resume(): void {
    this.goOn?.();
    this.paused = undefined;
  }

  stop(): void {
    this.stopping.abort();
    this.resume();
  }

  async open(job: WorkerJob): Promise<WorkerInfo> {
    if (job.wasm !== undefined) await init(job.wasm);
    const backend = await createBackend(job.backend);
    const folder = memoryFolder(await this.modelFiles(job), typeof job.model === 'string' ? job.model : '');
    const adapter = job.adapter && adapterIn(memoryFolder(await contentOf(job.adapter)));
    const { trainRecords, evalRecords, args, density, budget, metricNames, modelOptions = {} } = job;
    if (budget && !density)
      throw new DeftuneError('density is missing, expected the loss whose alpha the budget is for');
    const task = job.task === undefined ? undefined : getTask(job.task);
    const { labelNames, head } = modelOptions;
    const taskLabels = task?.labelNames;
    const labels = resolveRecords({ folder, adapter, head, labelNames, taskLabels, trainRecords, evalRecords });
    const resolved = labels.train ?? labels.evaluation;
    const notices: string[] = [];
    const base = modelIn(folder, {
      ...modelOptions,
      // An option that is there and undefined is none.
      activation: modelOptions.activation ?? adapter?.sidecar.activation,
      head: labels.head,
      numLabels: modelOptions.numLabels ?? labels.numLabels ?? adapter?.numLabels,
      labelNames: labels.labelNames,
      // To learn from records, a gate must be able to open again.
      skipMlps: adapter && !trainRecords?.length ? skippedMlps(adapter) : undefined,
      onNotice: (notice) => notices.push(notice),
    })(backend);
    if (!adapter && !job.peft) throw new DeftuneError('peft is missing, expected a method or an adapter to go on with');
    const model = adapter ? applyAdapter(base, adapter) : getPeftModel(base, job.peft!);
    const tokenizer = hasTokenizer(folder) ? tokenizerIn(folder) : undefined;
    const words = resolved && taskWords(task, resolved);
    this.opened = { model, trainer: undefined, tokenizer, folder, words, batchSize: args?.batchSize, metricNames };
    const examples = (records: readonly DataRecord[] = [], name: string, own?: ResolvedLabels): Example[] => {
      if (records.length === 0) return [];
      const { examples, truncated } = this.prepare(records, `${name} records`, own);
      if (truncated > 0) {
        notices.push(`${truncated} ${name} texts were cut to ${textLimit(base.info, tokenizer)} tokens`);
      }
      return examples;
    };
    const trainDataset = examples(trainRecords, 'training', labels.train);
    const evalDataset = examples(evalRecords, 'validation', labels.evaluation);
    const loss = density && densityTerm(density, budget, base.info.activation);
    const { checkpoints } = job;
    const store = checkpoints
      ? await opfsCheckpoints(checkpoints.name, { ...checkpoints, onNotice: (notice) => notices.push(notice) })
      : args?.loadBestModelAtEnd
        ? checkpointMemory()
        : undefined;
    if (trainDataset.length > 0) {
      const auxiliaryLosses = [...(loss ? [loss] : []), ...gatePenalty(model)];
      const recorder = new DensityRecorder(auxiliaryLosses);
      this.opened.recorder = recorder;
      this.opened.trainer = new Trainer({
        model,
        trainDataset,
        evalDataset,
        args,
        metricNames,
        auxiliaryLosses,
        callbacks: [recorder],
        checkpoints: store,
        signal: this.stopping.signal,
        onStep: async (log, totalSteps) => {
          this.tell('onStep', log, totalSteps);
          await this.paused;
        },
        onEvaluate: (log) => {
          this.tell('onEvaluate', log);
        },
        onSave: (step) => {
          this.tell('onSave', step);
        },
        onSkip: ({ message }) => {
          this.tell('onSkip', message);
        },
      });
    }
    return {
      totalSteps: this.opened.trainer?.totalSteps ?? 0,
      isa: backend.isaName(),
      threads: backend.threads(),
      method: model.method.describe(model.config),
      trainable: model.describeTrainable(),
      density: loss?.description,
      labelNames: base.info.labelNames,
      trainExamples: trainDataset.length,
      evalExamples: evalDataset.length,
      notices,
    };
  }

  async train({ resume }: { resume: boolean }): ReturnType<Calls['train']> {
    const { trainer } = this.ready();
    if (!trainer) throw new DeftuneError('trainRecords has no records, expected at least one to train');
    return trainer.train({ resume });
  }

  async evaluate(records: readonly DataRecord[]): ReturnType<Calls['evaluate']> {
    const { model, batchSize, metricNames } = this.ready();
    const { head, info } = model.base;
    const resolved = head.resolveLabels(records, 'records', info.labelNames.length > 0 ? info.labelNames : undefined);
    const { examples } = this.prepare(records, 'records', resolved);
    return evaluate(model.base, examples, { batchSize, metricNames });
  }

  async predict(records: readonly DataRecord[]): ReturnType<Calls['predict']> {
    const { model, batchSize } = this.ready();
    const { head, info } = model.base;
    const { examples } = this.prepare(records, 'records');
    const { outputs } = await predict(model.base, examples, { batchSize, pooledTokensOnly: true });
    return head.predictions(outputs, examples, info);
  }

  async activations(text: string): ReturnType<Calls['activations']> {
    const { model, tokenizer } = this.ready();
    const { examples } = this.prepare([{ text, line: 1 }], 'text');
    const example = examples[0]!;
    const tokens = Array.from(example.inputIds, (id) => tokenizer?.idToToken(id) ?? String(id));
    return activationMap(model.base, example, tokens);
  }

  async adapter(baseModel: string): ReturnType<Calls['adapter']> {
    const { model, folder, recorder } = this.ready();
    const sidecar = recorder ? { density: recorder.record() } : {};
    const files = adapterContent(model, { name: baseModel, folder }, sidecar);
    const encode = (content: string | Uint8Array): Uint8Array =>
      typeof content === 'string' ? new TextEncoder().encode(content) : content;
    return new Map([...files].map(([name, content]) => [name, encode(content)]));
  }

  async loadAdapter(files: Files | readonly File[]): ReturnType<Calls['loadAdapter']> {
    const { directory, tensors } = adapterIn(memoryFolder(await contentOf(files)));
    this.ready().model.loadStateDict(tensors, directory);
    return undefined;
  }

  private ready(): Opened {
    if (this.opened) return this.opened;
    throw new DeftuneError('the worker has no model yet, expected open() to have ended');
  }

  private prepare(
    records: readonly DataRecord[],
    fileName: string,
    resolved?: ResolvedLabels,
  ): ReturnType<typeof prepareExamples> {
    const { model, tokenizer, words } = this.ready();
    const { head, info } = model.base;
    return prepareExamples(records, { head, info, tokenizer, fileName, labels: resolved?.labels, task: words });
  }

  private async modelFiles({ model, cache }: WorkerJob): Promise<Files> {
    if (typeof model !== 'string') return contentOf(model);
    return fetchModel(model, {
      cache,
      onProgress: (progress) => {
        this.tell('onProgress', progress);
      },
    });
  }
}

/** Content of files that a user picked; of those in folders by their own names. */
async function contentOf(files: readonly File[] | Files): Promise<Files> {
  if (files instanceof Map) return files;
  const picked = files as readonly File[];
  return new Map(
    await Promise.all(picked.map(async (file) => [file.name, new Uint8Array(await file.arrayBuffer())] as const)),
  );
}
