// The page: two runs in two workers, PEFT and DEFT, from the same seed over the same data.
import {
  createWorkerTrainer,
  DeftuneError,
  recordsFromText,
  type ActivationMap,
  type DataRecord,
  type WorkerTrainerOptions,
} from 'deftune';
import { unzipSync, zipSync } from 'fflate';
import { activationFigure } from './activation-view.js';
import { layerChart, lineChart } from './charts.js';
import { VARIANTS, type Variant, type VariantName } from './variant.js';

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}
const input = (id: string): HTMLInputElement => element(id);
const select = (id: string): HTMLSelectElement => element(id);
const button = (id: string): HTMLButtonElement => element(id);

let variants: Variant[] = [];
let isRunning = false;
let isPaused = false;
let lastStep = 1;
let maps: { name: VariantName; map: ActivationMap }[] = [];

function say(text: string, isBad = false): void {
  const status = element('status');
  status.textContent = text;
  status.classList.toggle('bad', isBad);
}

/** What went wrong, in words for people. */
function report(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  say(error instanceof DeftuneError ? message : `Something went wrong: ${message}`, true);
}

async function bundledRecords(file: string): Promise<DataRecord[]> {
  const response = await fetch(new URL(`sst2-sample/${file}`, document.baseURI));
  return recordsFromText((await response.text()).replace(/^sentence\t/, 'text\t'), { form: 'tsv', name: file });
}

/** Pasted lines, every fifth for validation. Without a header the columns are text and label. */
function pastedRecords(): { train: DataRecord[]; valid: DataRecord[] } {
  const pasted = element<HTMLTextAreaElement>('pasted').value.trim();
  const first = pasted.split('\n', 1)[0] ?? '';
  const isBare = first.includes('\t') && !/(^|\t)(text|sentence|label)(\t|$)/.test(first);
  const all = recordsFromText(isBare ? `text\tlabel\n${pasted}` : pasted.replace(/^sentence\t/, 'text\t'), {
    name: 'pasted text',
  });
  return { train: all.filter((_, index) => index % 5 !== 4), valid: all.filter((_, index) => index % 5 === 4) };
}

async function readSettings(): Promise<WorkerTrainerOptions> {
  const isBundled = select('data').value === 'bundled';
  const { train, valid } = isBundled
    ? { train: await bundledRecords('train.tsv'), valid: await bundledRecords('valid.tsv') }
    : pastedRecords();
  const picked = [...(input('directory').files ?? [])];
  if (select('model').value === 'directory' && picked.length === 0) {
    throw new DeftuneError('no directory is picked, expected one with config.json and model.safetensors');
  }
  const maxSteps = Number(input('steps').value);
  return {
    model: select('model').value === 'directory' ? picked : new URL('bert-mini-relu/', document.baseURI).href,
    peft: { method: select('method').value },
    trainRecords: train,
    evalRecords: valid,
    // Two workers share the cores.
    backend: { threads: Math.max(1, Math.min(8, Math.floor(navigator.hardwareConcurrency / 2))) },
    args: { maxSteps, evalSteps: Math.max(5, Math.round(maxSteps / 8)), warmup: 0.1, batchSize: 32 },
  };
}

function densityOf(name: VariantName): WorkerTrainerOptions['density'] {
  if (name === 'PEFT') return undefined;
  const loss = select('loss').value;
  return { alpha: Number(input('alpha').value), ...(loss === 'auto' ? {} : { loss: loss as 'tanh' | 'l0' }) };
}

async function openVariant(name: VariantName, settings: WorkerTrainerOptions): Promise<Variant> {
  const variant: Pick<Variant, 'steps' | 'evaluations'> = { steps: [], evaluations: [] };
  const trainer = await createWorkerTrainer({
    ...settings,
    density: densityOf(name),
    onProgress: ({ file, loaded, total, isCached }) => {
      if (!isCached && name === 'PEFT')
        say(`Loading ${file}: ${total ? `${Math.round((100 * loaded) / total)} %` : `${loaded} bytes`}`);
    },
    onStep: (log) => {
      variant.steps.push(log);
      redraw();
    },
    onEvaluate: (log) => {
      variant.evaluations.push(log);
      redraw();
    },
  });
  return { name, trainer, ...variant };
}

async function start(): Promise<void> {
  for (const { trainer } of variants) trainer.terminate();
  variants = [];
  maps = [];
  setRunning(true);
  try {
    say('Loading the model …');
    const settings = await readSettings();
    // One after the other: the second finds the files in the cache.
    const opened: Variant[] = [];
    for (const name of VARIANTS) opened.push(await openVariant(name, settings));
    variants = opened;
    lastStep = opened[0]!.trainer.totalSteps;
    const { info } = opened[0]!.trainer;
    const threads = `${info.threads} thread${info.threads === 1 ? '' : 's'} each`;
    say(
      `Training: ${info.method}, ${info.trainExamples} examples, ${info.isa}, ${threads}. ${info.notices.join('. ')}`,
    );
    setRunning(true);
    fillLayers();
    const results = await Promise.all(opened.map(({ trainer }) => trainer.train()));
    const stopped = results.some(({ ended }) => ended === 'aborted');
    const warnings = results.flatMap(({ evaluation }, index) =>
      (evaluation?.warnings ?? []).map((warning) => ` ${VARIANTS[index]}: ${warning}.`),
    );
    say(`${stopped ? 'Stopped' : 'Done'}.${densityWords()}${warnings.join('')}`);
    await ask();
  } catch (error) {
    report(error);
  } finally {
    setRunning(false);
    redraw();
  }
}

/** `Density 29.4 % and 7.4 %: DEFT is 75 % sparser.` */
function densityWords(): string {
  const [peft, deft] = variants.map(({ evaluations }) => evaluations.at(-1)?.density);
  if (peft === undefined || deft === undefined) return '';
  const change = ((peft - deft) / peft) * 100;
  return ` Density: PEFT ${(peft * 100).toFixed(1)} %, DEFT ${(deft * 100).toFixed(1)} %, a change of ${change.toFixed(1)} %.`;
}

function setRunning(running: boolean): void {
  isRunning = running;
  isPaused = false;
  button('pause').textContent = 'Pause';
  button('start').disabled = running;
  button('pause').disabled = button('stop').disabled = !running || variants.length === 0;
  for (const id of ['ask', 'save-peft', 'save-deft']) button(id).disabled = variants.length === 0;
  for (const id of ['load-peft', 'load-deft']) button(id).disabled = running || variants.length === 0;
}

/** Names of the layers, once the models are open. */
function fillLayers(): void {
  select('layer').replaceChildren();
  select('layer').disabled = true;
}

/** What is to be drawn, a part a frame, so that no frame is late. */
const parts: readonly (() => void)[] = [
  drawSummary,
  () => {
    const taskLoss = ({ steps }: Variant): { step: number; value: number }[] =>
      steps.map((log) => ({ step: log.step, value: log.taskLoss }));
    lineChart(element('loss-chart'), 'task loss', variants, taskLoss, { lastStep });
  },
  () => {
    const metric = ({ evaluations }: Variant): { step: number; value: number }[] =>
      evaluations.map((log) => ({ step: log.step, value: log.metric * 100 }));
    lineChart(element('metric-chart'), 'metric in percent', variants, metric, { lastStep, isSparse: true });
  },
  () => {
    drawLayers('PEFT');
  },
  () => {
    drawLayers('DEFT');
  },
];
const waiting = new Set<() => void>();
let isScheduled = false;

function redraw(): void {
  for (const part of parts) waiting.add(part);
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(drawNext);
}

function drawNext(): void {
  const [part] = waiting;
  if (part === undefined) {
    isScheduled = false;
    return;
  }
  waiting.delete(part);
  part();
  requestAnimationFrame(drawNext);
}

function drawLayers(name: VariantName): void {
  const latest = (variant: Variant | undefined): { name: string; density: number }[] =>
    variant?.evaluations.at(-1)?.layerDensity ?? [];
  const most = Math.max(0, ...variants.flatMap(latest).map(({ density }) => density));
  const variant = variants.find((candidate) => candidate.name === name);
  layerChart(element(`${name.toLowerCase()}-layers`), name, latest(variant), most);
}

function drawSummary(): void {
  const body = element('summary').querySelector('tbody')!;
  const format = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? '–';
  body.replaceChildren(
    ...VARIANTS.map((name) => {
      const variant = variants.find((candidate) => candidate.name === name);
      const step = variant?.steps.at(-1);
      const evaluation = variant?.evaluations.at(-1);
      const row = document.createElement('tr');
      const head = document.createElement('th');
      head.scope = 'row';
      head.className = name.toLowerCase();
      head.textContent = name;
      const cells = [
        step ? `${step.step} of ${lastStep}` : '–',
        format(step?.taskLoss, 4),
        format(evaluation && evaluation.metric * 100, 2),
        format((evaluation?.density ?? step?.density ?? NaN) * 100 || undefined, 2),
        format(step?.seconds, 2),
      ].map((text) => {
        const cell = document.createElement('td');
        cell.textContent = text;
        return cell;
      });
      row.append(head, ...cells);
      return row;
    }),
  );
  const metricName = variants[0]?.evaluations[0]?.metricName;
  if (metricName) element('metric-name').textContent = `${metricName} %`;
  const done = variants.reduce((sum, { steps }) => sum + (steps.at(-1)?.step ?? 0), 0);
  element<HTMLProgressElement>('progress').value = variants.length > 0 ? done / (lastStep * variants.length) : 0;
}

async function ask(): Promise<void> {
  const text = input('sentence').value;
  try {
    const answers = await Promise.all(
      variants.map(async ({ name, trainer }) => {
        const [[answer], map] = await Promise.all([trainer.predict([{ text, line: 1 }]), trainer.activations(text)]);
        return { name, answer, map };
      }),
    );
    element('answers').replaceChildren(
      ...answers.map(({ name, answer }) => {
        const line = document.createElement('p');
        const title = document.createElement('span');
        title.className = name.toLowerCase();
        title.textContent = `${name}: `;
        const score = Number(answer?.['score']);
        const label = String(answer?.['label']);
        const known = { LABEL_0: 'negative', LABEL_1: 'positive' }[label];
        const words = select('data').value === 'bundled' && known ? known : label;
        line.append(title, `${words} (${score.toFixed(3)})`);
        return line;
      }),
    );
    maps = answers.map(({ name, map }) => ({ name, map }));
    const layers = maps[0]!.map.layers;
    if (select('layer').options.length !== layers.length) {
      select('layer').replaceChildren(...layers.map((_, index) => new Option(String(index), String(index))));
      select('layer').value = String(layers.length >> 1);
    }
    select('layer').disabled = false;
    drawMaps();
  } catch (error) {
    report(error);
  }
}

function drawMaps(): void {
  const layer = Number(select('layer').value);
  element('maps').replaceChildren(...maps.map(({ name, map }) => activationFigure(name, map, layer)));
}

async function save(name: VariantName): Promise<void> {
  const variant = variants.find((candidate) => candidate.name === name);
  if (!variant) return;
  try {
    const model = select('model').value === 'bundled' ? 'bert-mini-relu' : 'base';
    const files = await variant.trainer.adapter(model);
    const zip = zipSync(Object.fromEntries(files), { level: 0 });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([zip as BlobPart], { type: 'application/zip' }));
    link.download = `${name.toLowerCase()}-adapter.zip`;
    link.click();
    setTimeout(() => {
      URL.revokeObjectURL(link.href);
    }, 10_000);
  } catch (error) {
    report(error);
  }
}

/** The picked files of an adapter, those of a zip without its folders. */
async function pickedAdapter(): Promise<Map<string, Uint8Array>> {
  const picked = [...(input('adapter').files ?? [])];
  if (picked.length === 0) throw new DeftuneError('no adapter is picked, expected its zip or its files');
  const files = new Map<string, Uint8Array>();
  for (const file of picked) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (!file.name.endsWith('.zip')) {
      files.set(file.name, bytes);
      continue;
    }
    try {
      for (const [name, content] of Object.entries(unzipSync(bytes))) files.set(name.split('/').at(-1)!, content);
    } catch (cause) {
      throw new DeftuneError(`${file.name} is no zip: ${(cause as Error).message}`, { cause });
    }
  }
  return files;
}

async function loadInto(name: VariantName): Promise<void> {
  try {
    await variants.find((candidate) => candidate.name === name)?.trainer.loadAdapter(await pickedAdapter());
    say(`${name} now answers with the adapter that was loaded.`);
    await ask();
  } catch (error) {
    report(error);
  }
}

element('settings').addEventListener('submit', (event) => {
  event.preventDefault();
  if (!isRunning) void start();
});
button('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  for (const { trainer } of variants) {
    if (isPaused) trainer.pause();
    else trainer.resume();
  }
  button('pause').textContent = isPaused ? 'Go on' : 'Pause';
  say(isPaused ? 'Paused.' : 'Training.');
});
button('stop').addEventListener('click', () => {
  for (const { trainer } of variants) trainer.stop();
});
element('try').addEventListener('submit', (event) => {
  event.preventDefault();
  void ask();
});
select('layer').addEventListener('change', drawMaps);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawMaps);
for (const name of VARIANTS) {
  button(`save-${name.toLowerCase()}`).addEventListener('click', () => void save(name));
  button(`load-${name.toLowerCase()}`).addEventListener('click', () => void loadInto(name));
}
for (const [id, value, row] of [
  ['model', 'directory', 'directory-row'],
  ['data', 'pasted', 'pasted-row'],
] as const) {
  const show = (): void => {
    element(row).hidden = select(id).value !== value;
  };
  select(id).addEventListener('change', show);
  show();
}
redraw();
