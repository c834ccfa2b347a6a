// One list of operations, two bindings, one interface: each is compared with the others, names and argument lists.
import { readFileSync } from 'node:fs';
import test from 'ava';
import ts from 'typescript';
import { BACKENDS } from './on-each-backend.js';

/** Signatures by name, spelled alike for all sides: `(rows: number, cols: number) -> number`. */
type Methods = Record<string, string>;

const repository = new URL('../../', import.meta.url);
const source = (path: string): ts.SourceFile =>
  ts.createSourceFile(path, readFileSync(new URL(path, repository), 'utf8'), ts.ScriptTarget.ES2022, true);

/** Methods that the bindings write by hand, as their arguments are converted. */
const BY_HAND = ['isaName', 'isaAvailable', 'threads', 'uploadF32', 'uploadI32', 'uploadBytes', 'readF32', 'writeF32'];

/** What the types of the three sides have in common. */
function plain(type: string): string {
  const known: Record<string, string> = {
    'ArrayLike<number>': 'numbers',
    'Array<number>': 'numbers',
    Uint32Array: 'numbers',
    Handles: 'numbers',
    'Array<string>': 'string[]',
    u32: 'number',
    f64: 'number',
    bool: 'boolean',
    String: 'string',
  };
  // wasm-bindgen also accepts plain arrays.
  const narrowed = type.replace(' | number[]', '');
  return known[narrowed] ?? narrowed;
}

/** Methods of an interface or a declared class. */
function declared(path: string, name: string): Methods {
  const file = source(path);
  const methods: Methods = {};
  const visit = (node: ts.Node): void => {
    if ((ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node)) && node.name?.text === name) {
      for (const member of node.members) {
        if (!ts.isMethodSignature(member) && !ts.isMethodDeclaration(member)) continue;
        const parameters = member.parameters.map(({ name: parameter, type }) => [
          parameter.getText(file),
          type?.getText(file) ?? '',
        ]);
        methods[member.name.getText(file)] = signature(parameters, member.type?.getText(file) ?? '');
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return methods;
}

/** The lines of `backend_ops!`. */
function listed(): Methods {
  const text = readFileSync(new URL('crates/core/src/engine/list.rs', repository), 'utf8').replace(/\/\/.*/g, '');
  const methods: Methods = {};
  for (const [, name = '', parameters = '', result = ''] of text.matchAll(
    /fn \w+ "(\w+)"\s*\(([^)]*)\)\s*-> (\w+);/g,
  )) {
    const pairs = parameters.split(',').filter((part) => part.trim() !== '');
    methods[name] = signature(
      pairs.map((part) => part.split(':').map((piece) => piece.trim())),
      result,
    );
  }
  return methods;
}

function signature(parameters: readonly (readonly string[])[], result: string): string {
  const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const pairs = parameters.map(([name = '', type = '']) => `${camel(name)}: ${plain(type)}`);
  return `(${pairs.join(', ')}) -> ${plain(result)}`;
}

function withoutByHand(methods: Methods): Methods {
  return Object.fromEntries(Object.entries(methods).filter(([name]) => !BY_HAND.includes(name)));
}

/** What wasm-bindgen adds to its class. */
const GENERATED = '[Symbol.dispose]';

const wanted = declared('ts/backend/backend.ts', 'Backend');

test('the interface has exactly the listed operations and those written by hand', (t) => {
  t.true(Object.keys(wanted).length > 40);
  t.deepEqual(withoutByHand(wanted), listed());
  t.deepEqual(
    BY_HAND.filter((name) => !wanted[name]),
    [],
  );
});

test('the declarations of the addon are those of the interface', (t) => {
  t.deepEqual(declared('native/index.d.ts', 'NativeBackend'), wanted);
});

for (const { name, missing, open } of BACKENDS) {
  if (missing !== undefined) {
    test.skip(`the object exports what the interface says [${name}: ${missing}]`, () => undefined);
    continue;
  }
  test(`the object exports what the interface says [${name}]`, async (t) => {
    const prototype = Object.getPrototypeOf(await open()) as Record<string, unknown>;
    const exported = Object.getOwnPropertyNames(prototype).filter(
      (key) => key !== 'constructor' && typeof prototype[key] === 'function' && !key.startsWith('__'),
    );
    t.deepEqual(exported.sort(), Object.keys(wanted).sort());
  });
  const build = /^wasm (\w+)$/.exec(name)?.[1];
  if (build === undefined) continue;
  test(`the declarations of the module are those of the interface [${name}]`, (t) => {
    const methods = declared(`wasm/${build}/deftune_wasm.d.ts`, 'WasmBackend');
    t.deepEqual(Object.fromEntries(Object.entries(methods).filter(([key]) => key !== GENERATED)), wanted);
  });
}
