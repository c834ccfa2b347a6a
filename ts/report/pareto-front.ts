/** Where a model stands between sparse and good. */
export interface TradeOff {
  density: number;
  metric: number;
}

/** The points that no other beats in both: none is as sparse with a better metric, or sparser with the same. By density, ascending. */
export function paretoFront<T extends TradeOff>(points: readonly T[]): T[] {
  const front: T[] = [];
  for (const point of [...points].sort((a, b) => a.density - b.density || b.metric - a.metric)) {
    const last = front.at(-1);
    if (!last || point.metric > last.metric) front.push(point);
  }
  return front;
}
