import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixture, modelWith } from '../fixtures.js';
import { writeLines } from '../run-deftune.js';

export const RELU = fixture('relu');

/** A test's folder with good files in it; cases spoil what they need to. */
export class Place {
  readonly output: string;
  readonly out: string;

  constructor(readonly folder: string) {
    this.output = join(folder, 'predictions.jsonl');
    this.out = join(folder, 'adapter');
  }

  file(name: string, text: string | Uint8Array): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  lines(...records: unknown[]): string {
    return writeLines(join(this.folder, 'records.jsonl'), records);
  }

  /** A copy of the model with another model.safetensors. */
  modelOf(safetensors: Uint8Array): string {
    const model = modelWith(this.folder, 'relu', {});
    writeFileSync(join(model, 'model.safetensors'), safetensors);
    return model;
  }

  predict(settings: { model?: string; input?: string; adapter?: string; output?: string } = {}): string[] {
    const { model = RELU.model, input = this.lines({ inputIds: [1, 2] }), adapter, output = this.output } = settings;
    const extra = adapter === undefined ? [] : ['--adapter', adapter];
    return ['predict', '--model', model, '--input', input, '--output', output, ...extra];
  }

  train(...extra: string[]): string[] {
    const good = writeLines(join(this.folder, 'good.jsonl'), [
      { inputIds: [1, 2], label: 0 },
      { inputIds: [3], label: 1 },
    ]);
    const own = (name: string, value: string): string[] => (extra.includes(name) ? [] : [name, value]);
    const data = extra.includes('--task') ? [] : own('--train-file', good);
    return ['train', ...own('--model', RELU.model), ...data, ...own('--out', this.out), '--max-steps', '1', ...extra];
  }

  folderCalled(name: string): string {
    const path = join(this.folder, name);
    mkdirSync(path);
    return path;
  }

  /** A copy of the adapter with fields of its config changed, and with other weights (none for null). */
  adapterWith(config: Record<string, unknown>, weights?: Uint8Array | null): string {
    const path = this.folderCalled('changed-adapter');
    const text = readFileSync(join(RELU.adapter, 'adapter_config.json'), 'utf8');
    writeFileSync(
      join(path, 'adapter_config.json'),
      JSON.stringify({ ...(JSON.parse(text) as Record<string, unknown>), ...config }),
    );
    const own = weights === undefined ? readFileSync(join(RELU.adapter, 'adapter_model.safetensors')) : weights;
    if (own !== null) writeFileSync(join(path, 'adapter_model.safetensors'), own);
    return path;
  }
}
