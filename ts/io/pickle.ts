import { DeftuneError } from '../error.js';
import { showValue } from './show-value.js';

/** What a pickle may be made of besides plain values. */
export interface PickleNames {
  /** Stand-ins for the callables that may be named, by `module.name`; each only makes data of its arguments. */
  callables: Readonly<Record<string, (...args: unknown[]) => unknown>>;
  /** Names that are values themselves, e.g. of a storage type. */
  values: Readonly<Record<string, unknown>>;
  /** What a persistent id stands for. */
  persistent(id: unknown): unknown;
}

/** A callable that a pickle named, as a value on the stack: nothing but REDUCE looks inside. */
class Callable {
  constructor(
    readonly name: string,
    readonly call: (...args: unknown[]) => unknown,
  ) {}
}

const MARK = Symbol('mark');

/**
 * Reads a Python pickle of protocols 2 to 5 without executing anything: the instructions that make plain values, and calls of the names
 * given; dictionaries become Maps. Whatever else stands in it, such as the name of another function, is refused.
 *
 * Instructions: Lib/pickletools.py of CPython.
 *
 * @throws DeftuneError naming the file and the instruction or name that is not allowed
 */
export function unpickle(bytes: Uint8Array, fileName: string, names: PickleNames): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;
  const fail = (problem: string): never => {
    throw new DeftuneError(`${fileName}: the pickle ${problem}`);
  };
  const take = (length: number): number => {
    if (length > bytes.length - at) fail(`ends inside an instruction at byte ${at}; is it truncated?`);
    at += length;
    return at - length;
  };
  const pop = (): unknown => {
    if (stack.length === 0 || stack.at(-1) === MARK) fail(`takes a value at byte ${at} where there is none`);
    return stack.pop();
  };
  const top = (): unknown => stack.at(-1);
  const popToMark = (): unknown[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark < 0) fail(`has no mark before byte ${at}`);
    const items = stack.splice(mark);
    return items.slice(1);
  };
  const text = (length: number): string => new TextDecoder().decode(bytes.subarray(take(length), at));
  const line = (): string => {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) fail(`ends inside a name at byte ${at}; is it truncated?`);
    const value = new TextDecoder().decode(bytes.subarray(at, end));
    at = end + 1;
    return value;
  };
  const named = (module: unknown, name: unknown): unknown => {
    const full = `${String(module)}.${String(name)}`;
    if (Object.hasOwn(names.values, full)) return names.values[full];
    const call = Object.hasOwn(names.callables, full) ? names.callables[full] : undefined;
    if (call) return new Callable(full, call);
    return fail(`names ${showValue(full)}, expected tensors only: it could run code, and was not read`);
  };
  const put = (key: unknown, value: unknown): void => {
    const map = top();
    if (!(map instanceof Map)) return fail(`sets an item at byte ${at} of what is not a dictionary`);
    map.set(key, value);
  };
  const append = (items: readonly unknown[]): void => {
    const list = top();
    if (!Array.isArray(list)) return fail(`appends at byte ${at} to what is not a list`);
    for (const item of items) list.push(item);
  };
  const recall = (index: number): void => {
    if (!memo.has(index)) fail(`refers to value ${index}, which there is not`);
    stack.push(memo.get(index));
  };
  const instructions: Readonly<Record<number, () => void>> = {
    0x80: () => {
      const protocol = bytes[take(1)] as number;
      if (protocol < 2 || protocol > 5) fail(`is of protocol ${protocol}, expected 2 to 5`);
    },
    0x95: () => void take(8), // FRAME
    0x28: () => void stack.push(MARK),
    0x30: () => void pop(), // POP
    0x4e: () => void stack.push(null),
    0x88: () => void stack.push(true),
    0x89: () => void stack.push(false),
    0x4a: () => void stack.push(view.getInt32(take(4), true)), // BININT
    0x4b: () => void stack.push(bytes[take(1)]), // BININT1
    0x4d: () => void stack.push(view.getUint16(take(2), true)), // BININT2
    0x8a: () => void stack.push(long(bytes.subarray(take((bytes[take(1)] as number) || 0), at))), // LONG1
    0x47: () => void stack.push(view.getFloat64(take(8), false)), // BINFLOAT
    0x58: () => void stack.push(text(view.getUint32(take(4), true))), // BINUNICODE
    0x8c: () => void stack.push(text(bytes[take(1)] as number)), // SHORT_BINUNICODE
    0x7d: () => void stack.push(new Map()),
    0x5d: () => void stack.push([]),
    0x29: () => void stack.push([]), // EMPTY_TUPLE
    0x74: () => void stack.push(popToMark()), // TUPLE
    0x85: () => void stack.push([pop()]),
    0x86: () => {
      const b = pop();
      stack.push([pop(), b]);
    },
    0x87: () => {
      const [c, b] = [pop(), pop()];
      stack.push([pop(), b, c]);
    },
    0x61: () => {
      const item = pop();
      append([item]);
    },
    0x65: () => {
      const items = popToMark();
      append(items);
    },
    0x73: () => {
      const value = pop();
      const key = pop();
      put(key, value);
    },
    0x75: () => {
      const items = popToMark();
      if (items.length % 2 === 1) fail(`has a key without a value at byte ${at}`);
      for (let index = 0; index < items.length; index += 2) put(items[index], items[index + 1]);
    },
    0x71: () => void memo.set(bytes[take(1)] as number, top()), // BINPUT
    0x72: () => void memo.set(view.getUint32(take(4), true), top()), // LONG_BINPUT
    0x94: () => void memo.set(memo.size, top()), // MEMOIZE
    0x68: () => {
      recall(bytes[take(1)] as number);
    },
    0x6a: () => {
      recall(view.getUint32(take(4), true));
    },
    0x63: () => void stack.push(named(line(), line())), // GLOBAL
    0x93: () => {
      const name = pop();
      stack.push(named(pop(), name)); // STACK_GLOBAL
    },
    0x51: () => void stack.push(names.persistent(pop())), // BINPERSID
    0x52: () => {
      const args = pop();
      const callable = pop();
      if (!(callable instanceof Callable) || !Array.isArray(args)) {
        return fail(`calls ${showValue(callable)} at byte ${at}, expected tensors only`);
      }
      stack.push(callable.call(...(args as unknown[])));
    },
    // BUILD: torch keeps versions of modules as an attribute of its dictionary; the value is dropped.
    0x62: () => {
      pop();
      if (!(top() instanceof Map)) fail(`sets attributes at byte ${at} of what is not a dictionary`);
    },
  };
  for (;;) {
    const instruction = bytes[take(1)] as number;
    if (instruction === 0x2e) return pop();
    const run = instructions[instruction];
    if (!run) fail(`has the instruction 0x${instruction.toString(16)} at byte ${at - 1}, expected tensors only`);
    else run();
  }
}

/** A little-endian two's complement integer; beyond the safe ones it is inexact, and fails where it is used as a size. */
function long(bytes: Uint8Array): number {
  let value = 0n;
  for (let index = bytes.length - 1; index >= 0; index--) value = (value << 8n) | BigInt(bytes[index] as number);
  return Number(BigInt.asIntN(Math.max(8, bytes.length * 8), value));
}
