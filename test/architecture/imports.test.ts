// The rules that keep ts/ a one-way street. Type-only imports count: a type belongs to the lowest layer that speaks of it.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import ts from 'typescript';

/** Each line may import the lines before it (and leaves), never another name of its own line. */
const LAYERS = [
  ['backend'],
  ['tensor'],
  ['autograd'],
  ['ops'],
  ['nn'],
  ['heads'],
  ['models'],
  ['generation'],
  ['peft', 'density'],
  ['train'],
  ['report', 'web'],
  ['cli'],
];
/** May be imported by every layer; each imports only the leaves before it. */
const LEAVES = ['error', 'io', 'metrics', 'data'];
/** Public entries: they import what they like, and nothing but each other imports them. */
const ENTRIES = ['api.ts', 'index.ts', 'browser.ts'];
/** Folders whose index.ts is a registry: its entries are imported by it and by each other, and named in no shared code. */
const REGISTRIES = ['models', 'peft', 'data/tasks'];

interface Import {
  from: string;
  /** Path in ts/, or the specifier of a package or of node. */
  to: string;
  local: boolean;
}

const folder = fileURLToPath(new URL('../../ts/', import.meta.url));
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .map((path) => path.split(sep).join('/'))
  .filter((path) => path.endsWith('.ts'))
  .sort();
const text = new Map(files.map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
const imports = files.flatMap(importsOf);

/** Static, type-only and dynamic imports, and re-exports. */
function importsOf(from: string): Import[] {
  return ts.preProcessFile(text.get(from) ?? '', true, true).importedFiles.map(({ fileName }): Import => {
    if (!fileName.startsWith('.')) return { from, to: fileName, local: false };
    const to = relative(folder, join(folder, dirname(from), fileName))
      .split(sep)
      .join('/');
    return { from, to: to.replace(/\.js$/, '.ts'), local: !to.startsWith('../') };
  });
}

/** `tensor` of `tensor/scope.ts`, `error` of `error.ts`. */
function layerOf(path: string): string {
  return (path.split('/')[0] ?? '').replace(/\.ts$/, '');
}

function mayImport(from: string, to: string): boolean {
  const [a, b] = [layerOf(from), layerOf(to)];
  if (ENTRIES.includes(from)) return true;
  if (ENTRIES.includes(to)) return false;
  if (a === b) return true;
  if (LEAVES.includes(b)) return !LEAVES.includes(a) || LEAVES.indexOf(b) < LEAVES.indexOf(a);
  if (LEAVES.includes(a)) return false;
  return rank(b) < rank(a);
}

function rank(layer: string): number {
  return LAYERS.findIndex((names) => names.includes(layer));
}

/** Files that only Node runs. */
function isNodeFile(path: string): boolean {
  return path.endsWith('-node.ts') || path === 'index.ts' || path.startsWith('cli/');
}

/** The registered files of a folder: those whose export its index.ts puts into the list. */
function registered(registry: string): string[] {
  const index = text.get(`${registry}/index.ts`) ?? '';
  const list = /const [A-Z_]+\b[^=]*= \[([^\]]*)\]/.exec(index)?.[1] ?? '';
  return list.split(/[\s,]+/).flatMap((name) => {
    const file = new RegExp(`import \\{ ${name} \\} from '\\./(.+)\\.js'`).exec(index)?.[1];
    return name && file ? [`${registry}/${file}.ts`] : [];
  });
}

function describe({ from, to }: Import): string {
  return `${from} -> ${to}`;
}

test('every file belongs to a layer, a leaf or an entry', (t) => {
  t.true(files.length > 50);
  t.deepEqual(
    files.filter((path) => !ENTRIES.includes(path) && !LEAVES.includes(layerOf(path)) && rank(layerOf(path)) < 0),
    [],
  );
});

test('imports follow the arrow', (t) => {
  t.true(imports.some(({ local }) => local));
  t.deepEqual(imports.filter(({ from, to, local }) => local && !mayImport(from, to)).map(describe), []);
});

test('the rule itself', (t) => {
  t.true(mayImport('ops/linear.ts', 'tensor/tensor.ts'));
  t.false(mayImport('tensor/tensor.ts', 'autograd/node.ts'));
  t.false(mayImport('peft/lora.ts', 'density/density-loss.ts'));
  t.false(mayImport('data/batching.ts', 'models/model.ts'));
  t.true(mayImport('data/batching.ts', 'io/show-value.ts'));
  t.false(mayImport('io/validate.ts', 'data/rng.ts'));
  t.false(mayImport('train/trainer.ts', 'api.ts'));
});

test('local imports name files that exist', (t) => {
  t.deepEqual(imports.filter(({ to, local }) => local && !text.has(to)).map(describe), []);
});

test('only *-node.ts, index.ts and cli/ import node:* or one another', (t) => {
  const offenders = imports.filter(
    ({ from, to, local }) => !isNodeFile(from) && (local ? isNodeFile(to) : to.startsWith('node:')),
  );
  t.deepEqual(offenders.map(describe), []);
});

test('nothing that the browser entry reaches is for Node', (t) => {
  const reached = new Set(['browser.ts', 'web/training-worker.ts']);
  for (const file of reached) {
    for (const { from, to, local } of imports) if (local && from === file) reached.add(to);
  }
  t.true(reached.size > 30);
  t.deepEqual([...reached].filter(isNodeFile), []);
});

test('nothing but its registry and its siblings imports a model family, a method or a task', (t) => {
  for (const registry of REGISTRIES) {
    const entries = registered(registry);
    t.true(entries.length > 0, registry);
    const offenders = imports.filter(
      ({ from, to }) => entries.includes(to) && from !== `${registry}/index.ts` && !entries.includes(from),
    );
    t.deepEqual(offenders.map(describe), []);
  }
});

test('shared code names no model family, method or task', (t) => {
  for (const registry of REGISTRIES) {
    const entries = registered(registry);
    const names = entries.map((path) => path.slice(registry.length + 1, -'.ts'.length));
    const offenders = files
      // Whoever starts a run names what it runs; a registered file may name itself and others.
      .filter((path) => !path.startsWith('cli/') && !entries.includes(path))
      .flatMap((path) => strings(path).flatMap((value) => (names.includes(value) ? [`${path}: '${value}'`] : [])));
    t.deepEqual(offenders, []);
  }
});

test('the trainer knows neither LoRA nor an architecture', (t) => {
  const offenders = files
    .filter((path) => path.startsWith('train/'))
    .filter((path) => identifiers(path).some((name) => /lora|bert/i.test(name)));
  t.deepEqual(offenders, []);
});

/** String literals of a file, those of imports left out. */
function strings(path: string): string[] {
  return nodes(path).flatMap((node) =>
    ts.isStringLiteralLike(node) && !ts.isImportDeclaration(node.parent) && !ts.isExportDeclaration(node.parent)
      ? [node.text]
      : [],
  );
}

function identifiers(path: string): string[] {
  return nodes(path).flatMap((node) => (ts.isIdentifier(node) ? [node.text] : []));
}

function nodes(path: string): ts.Node[] {
  const found: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text.get(path) ?? '', ts.ScriptTarget.ES2022, true));
  return found;
}
