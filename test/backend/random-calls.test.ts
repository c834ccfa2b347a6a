// Random calls of every operation, with handles of every kind, shapes without elements and odd numbers: whatever is asked, the answer is
// a result or a one-line error, and the backend goes on working.
import { readFileSync } from 'node:fs';
import ts from 'typescript';
import type { Backend } from '../../ts/backend/backend.js';
import { Rng } from '../../ts/data/rng.js';
import { scope } from '../../ts/tensor/scope.js';
import { checkGradients } from '../ops/gradient-check.js';
import { GRADIENT_CHECKS } from '../ops/gradient-checks.js';
import { onEachBackend } from './on-each-backend.js';

const ROUNDS = 500;
const CALLS = 60;

/** Arguments that are handles, by name; every other number is drawn from {@link NUMBERS}. */
const HANDLES = new Set(
  (
    'x a b y dy out pre grad mapGrad map weight bias pattern dx table ids residual q k v cuQ cuK dout lse gamma beta ' +
    'stats logits labels prediction target param m'
  ).split(' '),
);
/** Those of them that hold integers: mostly given ones that do, or few calls would get past the first check. */
const INTEGERS = new Set(['ids', 'labels', 'cuQ', 'cuK']);
/** Left out: those that end scopes or free tensors under the test's feet, and those that take arrays. */
const LEFT_OUT = /^(upload|write|beginScope|endScope|free|keep|isa|threads|live)/;
const NUMBERS = [0, 1, 2, 3, 5, -1, 0.5, 0.999, 1e-7, Number.NaN, Infinity, -Infinity];
/** Rows and columns. */
const SIZES = [0, 1, 2, 3, 8];

interface Operation {
  name: keyof Backend;
  parameters: { name: string; type: string }[];
}

function operations(): Operation[] {
  const path = new URL('../../ts/backend/backend.ts', import.meta.url);
  const file = ts.createSourceFile('backend.ts', readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true);
  const found: Operation[] = [];
  ts.forEachChild(file, (node) => {
    if (!ts.isInterfaceDeclaration(node) || node.name.text !== 'Backend') return;
    for (const member of node.members) {
      if (!ts.isMethodSignature(member) || LEFT_OUT.test(member.name.getText(file))) continue;
      const parameters = member.parameters.map(({ name, type }) => ({
        name: name.getText(file),
        type: type?.getText(file) ?? '',
      }));
      found.push({ name: member.name.getText(file) as keyof Backend, parameters });
    }
  });
  return found;
}

/** Tensors of every kind. A round has two sizes, so that shapes often fit and often do not. */
function makeTensors(backend: Backend, rng: Rng): { handles: number[]; integers: number[] } {
  const sizes = [SIZES[rng.nextBelow(SIZES.length)], SIZES[rng.nextBelow(SIZES.length)]] as [number, number];
  // Some rounds have more rows than a block of MLP activations.
  if (rng.nextBelow(4) === 0) sizes[0] = 50;
  const shapes = [...sizes, 1].flatMap((rows) => [...sizes, 1].map((cols) => [rows, cols] as const));
  const freed = backend.zeros(2, 3);
  backend.free(freed);
  const handles: number[] = [0, freed];
  for (const [rows, cols] of shapes) {
    const shift = 1.5 * (rng.nextBelow(3) - 1);
    const values = Float32Array.from({ length: rows * cols }, () => rng.nextNormal() + shift);
    if (values.length > 2 && rng.nextBelow(8) === 0) values[1] = Number.NaN;
    const dense = backend.uploadF32(values, rows, cols);
    handles.push(dense);
    if (cols > 0 && rng.nextBelow(3) === 0)
      handles.push(
        ...Array.from(backend.activate(dense, rng.nextBelow(5), rng.nextBelow(4), 0.1, 0, rng.nextFloat())).slice(0, 3),
      );
  }
  const integers: number[] = [];
  for (const size of sizes) {
    integers.push(backend.uploadI32(Int32Array.of(0, size), 1, 2));
    // Labels or ids: inside the range, or one of them outside.
    const ids = Int32Array.from({ length: size }, () => rng.nextBelow(Math.max(1, Math.min(...sizes))));
    integers.push(backend.uploadI32(ids, 1, size));
    if (size > 0) ids[0] = [-100, -1, 9, 2 ** 31 - 1][rng.nextBelow(4)] as number;
    integers.push(backend.uploadI32(ids, 1, size));
  }
  return { handles: [...handles, ...integers], integers };
}

const all = operations();

/** A message of ours: one line, and neither a panic nor a trap. */
function isProper(error: unknown): error is Error {
  return (
    error instanceof Error &&
    !(error instanceof WebAssembly.RuntimeError) &&
    !/panicked|unreachable|\n/.test(error.message) &&
    error.message.length < 200
  );
}

onEachBackend('random calls end in a result or a one-line error', (t, backend) => {
  const rng = new Rng(1, 2);
  const pick = <T>(items: readonly T[]): T => items[rng.nextBelow(items.length)] as T;
  const succeeded = new Set<string>();
  const failed = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    backend.beginScope();
    const { handles, integers } = makeTensors(backend, rng);
    for (let call = 0; call < CALLS; call++) {
      const { name, parameters } = pick(all);
      const values = parameters.map((parameter) => {
        if (parameter.type === 'boolean') return rng.nextBelow(2) === 1;
        if (INTEGERS.has(parameter.name) && rng.nextBelow(8) > 0) return pick(integers);
        if (HANDLES.has(parameter.name)) return pick(handles);
        return ['rows', 'cols'].includes(parameter.name) ? pick(SIZES) : pick(NUMBERS);
      });
      try {
        const result: unknown = (backend[name] as (...values: unknown[]) => unknown)(...values);
        succeeded.add(name);
        // Results are arguments from now on, a few of them: the shapes that fit must not drown.
        if (!/^(sumSquares|densityValue|nonzeros|readF32)$/.test(name) && rng.nextBelow(4) === 0) {
          handles.push(...(typeof result === 'number' ? [result] : Array.from(result as ArrayLike<number>)));
        }
      } catch (error) {
        failed.add(name);
        if (!isProper(error)) {
          t.fail(`${name}(${values.join(', ')}): ${String(error)}`);
          return;
        }
      }
    }
    backend.endScope();
    if (backend.liveTensors() !== 0) {
      t.fail(`round ${round}: ${backend.liveTensors()} tensors outlived their scope`);
      return;
    }
  }
  t.true(succeeded.size > 30, `only ${[...succeeded].join(', ')} succeeded`);
  t.true(failed.size > 30, `only ${[...failed].join(', ')} failed`);
});

onEachBackend('calls with one argument changed end in a result or a one-line error', (t, backend) => {
  const rng = new Rng(3, 4);
  const pick = <T>(items: readonly T[]): T => items[rng.nextBelow(items.length)] as T;
  const names = new Map<string, Operation>(all.map((operation) => [operation.name, operation]));
  const tried = new Set<string>();
  const problems: string[] = [];
  let handles: number[] = [];

  /** The same call, with one argument replaced at a time, before the real one. */
  const withChanges = (name: string, values: readonly unknown[]): void => {
    for (const [index, parameter] of (names.get(name)?.parameters ?? []).entries()) {
      if (parameter.type === 'boolean') continue;
      const changed = HANDLES.has(parameter.name)
        ? pick(handles)
        : ['rows', 'cols'].includes(parameter.name)
          ? pick(SIZES)
          : pick(NUMBERS);
      tried.add(name);
      try {
        scope(backend, () =>
          (backend[name as keyof Backend] as (...v: unknown[]) => unknown)(
            ...values.map((value, at) => (at === index ? changed : value)),
          ),
        );
      } catch (error) {
        if (!isProper(error)) problems.push(`${name}: ${parameter.name} is ${changed}: ${String(error)}`);
        if (error instanceof WebAssembly.RuntimeError) throw error;
      }
    }
  };
  const watched = new Proxy(backend, {
    get: (target, key) => {
      const method = target[key as keyof Backend] as (...values: unknown[]) => unknown;
      return (...values: unknown[]): unknown => {
        withChanges(String(key), values);
        return method.apply(target, values);
      };
    },
  });

  for (const example of Object.values(GRADIENT_CHECKS).flat()) {
    scope(backend, () => {
      handles = makeTensors(backend, rng).handles;
      // What the gradients come out as does not matter here: some changed calls wrote into their arguments.
      checkGradients(watched, { ...example, samples: 1 });
    });
    if (problems.length > 0) break;
  }
  t.deepEqual(problems, []);
  t.is(backend.liveTensors(), 0);
  t.true(tried.size > 25, [...tried].join(', '));
});
