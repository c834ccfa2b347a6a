import { cpus } from 'node:os';
import { Command } from 'commander';
import type { Backend } from '../../backend/backend.js';
import { createBackend } from '../../backend/create-backend-node.js';
import { addCommonOptions, type CommonOptions } from '../options.js';
import { print } from '../output.js';
import { version } from '../version.js';

/** `deftune info`: what this machine has, and what is used of it. */
export const info = addCommonOptions(new Command('info'))
  .description('backends, instruction sets found and used, threads')
  .action(async (options: CommonOptions) => {
    const names = options.backend ? [options.backend] : (['native', 'wasm'] as const);
    const backends: { name: string; backend?: Backend; error?: string }[] = [];
    for (const name of names) {
      try {
        backends.push({ name, backend: await createBackend({ ...options, backend: name }) });
      } catch (error) {
        backends.push({ name, error: (error as Error).message });
      }
    }
    const found = backends.map(({ name, backend, error }) =>
      backend
        ? { backend: name, isa: backend.isaName(), available: backend.isaAvailable(), threads: backend.threads() }
        : { backend: name, error },
    );
    const used = found.find(({ isa }) => isa !== undefined)?.backend ?? null;
    const cpu = cpus();
    const lines = found.map((entry) =>
      'isa' in entry
        ? `${entry.backend}: ${entry.isa} (found: ${entry.available?.join(', ')}), ${entry.threads} thread${entry.threads === 1 ? '' : 's'}`
        : `${entry.backend}: not available (${entry.error})`,
    );
    print(
      {
        version,
        node: process.version,
        platform: `${process.platform}-${process.arch}`,
        cpu: cpu[0]?.model,
        cores: cpu.length,
        used,
        backends: found,
      },
      [
        `deftune ${version}, node ${process.version}, ${process.platform}-${process.arch}`,
        `${cpu[0]?.model ?? 'unknown processor'}, ${cpu.length} cores`,
        ...lines,
        `used: ${used ?? 'none'}`,
      ],
      options.json,
    );
  });
