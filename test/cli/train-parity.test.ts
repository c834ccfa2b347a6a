// `train` against PyTorch: every step's losses, gradient norm and rate.
import test from 'ava';
import { STEP_FIELDS, fixtureRun, isClose, type Step } from './fixture-run.js';
import { fixture } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, temporaryFolder } from './run-deftune.js';

const LOSSES: Readonly<Record<string, readonly (string | number)[]>> = {
  none: [],
  tanh: ['--density', 'tanh', '--beta', 20],
  'l0_1e-2': ['--density', 'l0', '--eps', 1e-2],
  'element_1e-2': ['--density', 'l0', '--density-form', 'element', '--eps', 1e-2],
};

for (const [name, settings] of Object.entries(LOSSES)) {
  onBothBackends(`ten steps from an adapter log PyTorch's losses, ${name}`, async (t, backend) => {
    const { expected } = fixture('relu');
    const { args, log } = fixtureRun(temporaryFolder(t), 'relu');
    const alpha = name === 'none' ? [] : ['--alpha', expected.training.alpha];
    const optimizer = ['--lr', 1e-3, '--weight-decay', 0.01, '--max-grad-norm', 1, '--warmup', 2, '--max-steps', 10];
    const { stderr } = await runDeftune(t, [...args, ...settings, ...alpha, ...optimizer, '--backend', backend]);
    t.notRegex(stderr, /has no effect/);
    const steps = readLines<Step & { gradNorm: number }>(log);
    const reference = expected.training[name]?.steps ?? [];
    t.is(steps.length, 10);
    steps.forEach((line, index) => {
      for (const field of STEP_FIELDS) t.is(typeof line[field], 'number', field);
      const known = reference[index] as NonNullable<(typeof reference)[number]>;
      t.is(line.step, index + 1);
      for (const field of ['loss', 'taskLoss', 'densityLoss', 'gradNorm', 'lr'] as const) {
        isClose(t, line[field], known[field], field === 'gradNorm' ? 1e-3 : 1e-4, `step ${index + 1}: ${field}`);
      }
      // A sum on either side of zero may fall on the other in another order of summation.
      t.true(Math.abs(line.density - known.density) < 1e-3);
      t.is<unknown, unknown>(line.tokens, expected.training.batches[index]?.inputIds.flat().length);
      t.true(line.seconds > 0);
      isClose(
        t,
        line.loss,
        line.taskLoss + (name === 'none' ? 0 : expected.training.alpha) * line.densityLoss,
        1e-6,
        'loss',
      );
    });
  });
}

test('the element form, accumulation, full fine-tuning and regression are PyTorch’s too', async (t) => {
  const check = async (variant: string, name: string, extra: (string | number)[]): Promise<void> => {
    const { expected } = fixture(variant);
    const run = fixtureRun(temporaryFolder(t), variant);
    const settings = ['--lr', 1e-3, '--weight-decay', 0.01, '--warmup', 2, '--max-steps', 10];
    // Full fine-tuning starts from the model, not from the adapter.
    const start = run.args.findIndex((arg) => arg === '--adapter');
    const args = name === 'full' ? run.args.toSpliced(start, 2) : run.args;
    await runDeftune(t, [...args, ...settings, ...extra]);
    const losses = readLines<Step>(run.log).map(({ loss }) => loss);
    const reference = expected.training[name]?.steps ?? [];
    t.is(losses.length, 10);
    losses.forEach((loss, i) => {
      isClose(t, loss, reference[i]?.loss ?? Number.NaN, 1e-4, `${variant} ${name} ${i}`);
    });
  };
  await Promise.all([
    check('relu', 'accumulate', ['--accumulate', 2]),
    check('relu', 'full', ['--method', 'full']),
    check('silu', 'none', []),
    check('gelu', 'tanh', ['--density', 'tanh', '--alpha', 0.5]),
    check('gelu_new', 'none', []),
  ]);
});
