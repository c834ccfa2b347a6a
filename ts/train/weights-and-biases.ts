import { DeftuneError } from '../error.js';
import { evaluationScalars, stepScalars } from './run-scalars.js';
import type { TrainerCallback } from './trainer.js';

/** What is used of Weights & Biases' client: the default export of `@wandb/sdk`. */
export interface WandbClient {
  init(options: Record<string, unknown>): Promise<unknown>;
  log(values: Record<string, number>): unknown;
  finish(): Promise<unknown>;
}

/** Settings of {@link weightsAndBiases}. */
export interface WeightsAndBiasesOptions {
  project: string;
  /** Settings of the run that are shown with it. */
  config?: Readonly<Record<string, unknown>> | undefined;
  /** Default: the package `@wandb/sdk`, which is loaded when this is called; it reads the key from WANDB_API_KEY. */
  client?: WandbClient | undefined;
}

/**
 * A callback that sends a run to Weights & Biases. The client is no dependency of this package: install `@wandb/sdk` beside it.
 *
 * @throws DeftuneError where the client is missing, or cannot start a run.
 */
export async function weightsAndBiases({
  project,
  config = {},
  client,
}: WeightsAndBiasesOptions): Promise<TrainerCallback> {
  const wandb = client ?? (await loadClient());
  try {
    await wandb.init({ project, config });
  } catch (cause) {
    throw new DeftuneError(`Weights & Biases: the run cannot be started: ${(cause as Error).message}`, { cause });
  }
  const log = (step: number, scalars: Readonly<Record<string, number>>): void => {
    wandb.log({ ...scalars, 'train/global_step': step });
  };
  return {
    onStep: (entry) => {
      log(entry.step, stepScalars(entry));
    },
    onEvaluate: (entry) => {
      log(entry.step, evaluationScalars(entry));
    },
    onEnd: async () => {
      await wandb.finish();
    },
  };
}

async function loadClient(): Promise<WandbClient> {
  // Not a literal: it is looked for only here, by the compiler neither.
  const name: string = '@wandb/sdk';
  try {
    return ((await import(name)) as { default: WandbClient }).default;
  } catch (cause) {
    throw new DeftuneError(`Weights & Biases needs the package ${name}; install it with: npm install ${name}`, {
      cause,
    });
  }
}
