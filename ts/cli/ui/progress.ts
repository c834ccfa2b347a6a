import cliProgress from 'cli-progress';
import { formatCount, formatNumber, formatPercent, formatSeconds } from './format.js';

/** What is known at a step; every field is shown from its first value on. */
export interface ProgressValues {
  loss?: number | undefined;
  /** 0..1 */
  density?: number | undefined;
  tokensPerSecond?: number | undefined;
  /** 0..1 */
  metric?: number | undefined;
}

export interface Progress {
  update(step: number, values?: ProgressValues): void;
  /** Ends the display; may be called more than once. */
  stop(): void;
}

export interface ProgressOptions {
  label: string;
  /** Defaults to standard error. */
  stream?: NodeJS.WritableStream | undefined;
}

const BAR = 20;

function describe(label: string, step: number, total: number, values: ProgressValues, elapsed: number): string[] {
  const parts = [`${label} ${formatCount(step)}/${formatCount(total)}`];
  if (values.loss !== undefined) parts.push(`loss ${formatNumber(values.loss)}`);
  if (values.density !== undefined) parts.push(`density ${formatPercent(values.density)}`);
  if (values.metric !== undefined) parts.push(`metric ${formatPercent(values.metric)}`);
  if (values.tokensPerSecond !== undefined) parts.push(`${formatCount(values.tokensPerSecond)} tokens/s`);
  parts.push(formatSeconds(elapsed));
  if (step > 0 && step < total) parts.push(`${formatSeconds((elapsed / step) * (total - step))} left`);
  return parts;
}

/**
 * Shows the progress of `total` steps: on a terminal a bar that redraws itself, elsewhere (a log file, a
 * pipe) one plain line about every tenth. The cursor is never hidden, so no crash can leave it so.
 */
export function createProgress(total: number, options: ProgressOptions): Progress {
  const stream = options.stream ?? process.stderr;
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  let known: ProgressValues = {};
  const learn = (values: ProgressValues) => {
    known = { ...known, ...Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)) };
  };

  if ((stream as { isTTY?: boolean }).isTTY !== true) {
    let tenth = 0;
    let stopped = false;
    return {
      update(step, values = {}) {
        learn(values);
        const now = total > 0 ? Math.floor((Math.min(step, total) / total) * 10 + 1e-9) : 0;
        if (stopped || now <= tenth) return;
        tenth = now;
        stream.write(describe(options.label, step, total, known, elapsed()).join('  ') + '\n');
      },
      stop() {
        stopped = true;
      },
    };
  }

  let at = 0;
  const bar = new cliProgress.SingleBar({
    stream,
    // A hidden cursor, switched-off line wrapping or a caught Ctrl+C would outlive a crash.
    hideCursor: false,
    linewrap: true,
    gracefulExit: false,
    fps: 10,
    format: () => {
      const filled = total > 0 ? Math.round(Math.min(1, Math.max(0, at / total)) * BAR) : 0;
      const [head = '', ...rest] = describe(options.label, at, total, known, elapsed());
      return [head, '█'.repeat(filled) + '░'.repeat(BAR - filled), ...rest].join('  ');
    },
  });
  bar.start(total, 0);
  let stopped = false;
  return {
    update(step, values = {}) {
      if (stopped) return;
      learn(values);
      at = step;
      bar.update(step);
    },
    stop() {
      if (stopped) return;
      stopped = true;
      bar.stop();
    },
  };
}
