/** A curve of more points than this is averaged. */
export const MAX_POINTS = 200;
/** What it is averaged into: lighter, smoother, and enough for the figure's width. */
export const GROUPS = 100;

export interface CurvePoint {
  step: number;
  value: number;
}

/**
 * The finite points of a curve; those of one longer than `max` are cut into `groups` of neighbours, each
 * replaced by its mean.
 */
export function curvePoints(points: readonly CurvePoint[], max = MAX_POINTS, groups = GROUPS): CurvePoint[] {
  const finite = points.filter((p) => Number.isFinite(p.value) && Number.isFinite(p.step));
  if (finite.length <= max) return finite;
  const out: CurvePoint[] = [];
  for (let group = 0; group < groups; group++) {
    const part = finite.slice(
      Math.floor((group * finite.length) / groups),
      Math.floor(((group + 1) * finite.length) / groups),
    );
    const mean = (of: (p: CurvePoint) => number) => part.reduce((sum, p) => sum + of(p), 0) / part.length;
    out.push({ step: mean((p) => p.step), value: mean((p) => p.value) });
  }
  return out;
}
