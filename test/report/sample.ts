import type { CompareResult, RunResult } from '../../ts/report/compare-result.js';

export function run(variant: 'PEFT' | 'DEFT', seed: number, over: Partial<RunResult> = {}): RunResult {
  const deft = variant === 'DEFT';
  const layers = 12;
  const level = deft ? 0.02 : 0.06;
  return {
    variant,
    seed,
    metricName: 'accuracy',
    metric: 0.93 + seed * 0.002 - (deft ? 0.004 : 0),
    density: level,
    layerDensity: Array.from({ length: layers }, (_, i) => level * (1 + 0.5 * Math.sin(i / 2)) + seed * 0.002),
    layerNames: Array.from({ length: layers }, (_, i) => `encoder.layer.${i}.intermediate`),
    seconds: 60 + seed * 5 + (deft ? 8 : 0),
    steps: 500,
    log: Array.from({ length: 500 }, (_, i) => ({
      step: i + 1,
      loss: 0.8,
      taskLoss: 0.15 + 0.55 * Math.exp(-i / 120) + 0.05 * Math.sin(i * 1.7 + seed),
      densityLoss: 0.1,
      density: deft ? 0.02 + 0.05 * Math.exp(-i / 80) : 0.06 + 0.004 * Math.sin(i / 30 + seed),
      lr: 1e-4,
      seconds: i * 0.1,
    })),
    warnings: [],
    ...over,
  };
}

export function sample(over: Partial<CompareResult> = {}): CompareResult {
  return {
    version: '0.1.0',
    date: '2025-01-02',
    machine: 'AVX2, 8 threads, a processor',
    model: 'models/<b>"small" & co</b>',
    data: 'sst2 <script>alert(1)</script>',
    method: 'LoRA r 8, alpha 16 on query, value',
    density: 'tanh, feature map, alpha 0.05, beta 20',
    trainExamples: 67349,
    validExamples: 872,
    command: 'deftune compare --model "models/<b>" --seeds 1,2,3',
    runs: [1, 2, 3].flatMap((seed) => [run('PEFT', seed), run('DEFT', seed)]),
    ...over,
  };
}
