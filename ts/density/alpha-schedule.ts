/** How alpha comes to its full weight. */
export type AlphaScheduler = 'constant' | 'linear' | 'sine';

/** Names of the schedules. */
export const ALPHA_SCHEDULERS: readonly AlphaScheduler[] = ['constant', 'linear', 'sine'];

/**
 * Factor on alpha, 0 to 1. `linear` rises evenly over the warm-up; `sine` as ProSparse's regularisation does (Song et al. 2024, eq. 2):
 * ½ (sin(π t − π/2) + 1), t the share of the warm-up that is done.
 *
 * @param step from 1
 * @param warmup steps (1 or more), or a share of the run (below 1)
 */
export function alphaFactor(scheduler: AlphaScheduler, step: number, totalSteps: number, warmup: number): number {
  const steps = warmup < 1 ? warmup * totalSteps : warmup;
  const done = steps > 0 ? Math.min(1, step / steps) : 1;
  if (scheduler === 'constant') return 1;
  return scheduler === 'linear' ? done : 0.5 * (Math.sin(Math.PI * done - Math.PI / 2) + 1);
}
