import process from 'node:process';

/** Numbers of the signals that stop a run, which a shell adds 128 to. */
const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

/** A run that Ctrl-C or `kill` asks to stop. */
export interface Interruption {
  signal: AbortSignal;
  /** 130 after SIGINT, 143 after SIGTERM. */
  exitCode(): number;
  /** Gives the signals back to node. */
  release(): void;
}

/** Turns the first SIGINT or SIGTERM into an abort signal, so that a run can save itself; the second ends the process at once. */
export function catchSignals(): Interruption {
  const controller = new AbortController();
  let received = 0;
  const handlers = Object.entries(SIGNALS).map(([name, number]) => {
    const handler = (): void => {
      if (received > 0) process.exit(128 + number);
      received = number;
      process.stderr.write('\nstopping after this step; once more ends it at once\n');
      controller.abort();
    };
    process.on(name, handler);
    return { name, handler };
  });
  return {
    signal: controller.signal,
    exitCode: () => 128 + received,
    release() {
      for (const { name, handler } of handlers) process.off(name, handler);
    },
  };
}
