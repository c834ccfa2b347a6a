import type { DownloadProgress } from '../../io/hub/resolve-model-directory-node.js';
import { createProgress, type Progress } from './progress.js';

/** A download that is over sooner than this (in milliseconds) needs no display. */
const PATIENCE = 2000;
const MEGABYTE = 1e6;

export interface DownloadDisplay {
  update: (progress: DownloadProgress) => void;
  /** Ends the display; may be called more than once. */
  stop(): void;
}

/**
 * Shows a download that takes more than two seconds: how many megabytes are left of it, and how long they will take.
 *
 * @param stream defaults to standard error
 */
export function createDownloadDisplay(stream?: NodeJS.WritableStream, now = () => performance.now()): DownloadDisplay {
  const started = now();
  let shown: { bar: Progress; from: number; total: number } | undefined;
  return {
    update({ repository, loaded, total }) {
      // The list of a model's shards makes the whole larger.
      if (shown && shown.total !== total) {
        shown.bar.stop();
        shown = undefined;
      }
      if (!shown && now() - started >= PATIENCE && loaded < total) {
        // What was there before the display started says nothing about the speed.
        const steps = Math.ceil((total - loaded) / MEGABYTE);
        shown = {
          bar: createProgress(steps, { label: `downloading ${repository}, MB:`, stream }),
          from: loaded,
          total,
        };
      }
      if (shown) shown.bar.update(Math.floor((loaded - shown.from) / MEGABYTE));
    },
    stop() {
      shown?.bar.stop();
    },
  };
}
