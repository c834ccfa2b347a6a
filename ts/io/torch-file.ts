import { DeftuneError } from '../error.js';
import { DTYPE_SIZES, type Dtype } from './dtype.js';
import { unpickle } from './pickle.js';
import type { StoredTensor } from './safetensors.js';
import { showValue } from './show-value.js';
import { readZip } from './zip.js';

const STORAGES: Readonly<Record<string, Dtype>> = {
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
};

/** The bytes that tensors are views of. */
class Storage {
  constructor(
    readonly dtype: Dtype,
    readonly bytes: Uint8Array,
  ) {}
}

/** A tensor of a pickle. */
class PickledTensor {
  constructor(readonly stored: StoredTensor) {}
}

/**
 * Tensors of a file that `torch.save` wrote (a dictionary of them in a ZIP archive), by name. Nothing in it is executed: see
 * {@link unpickle}.
 *
 * @param bytes the whole file
 * @param name the file's name, for messages
 * @throws DeftuneError naming the file and what is wrong in it
 */
export function parseTorchFile(bytes: Uint8Array, name: string): Map<string, StoredTensor> {
  if (bytes[0] === 0x80) {
    throw new DeftuneError(
      `${name}: the file is of torch before 1.6, expected a ZIP archive; save it again as safetensors`,
    );
  }
  const entries = readZip(bytes, name);
  const pickle = [...entries.keys()].find((entry) => /^([^/]+\/)?data\.pkl$/.test(entry));
  if (pickle === undefined) throw new DeftuneError(`${name}: data.pkl is missing, expected a file of torch.save`);
  const folder = pickle.slice(0, -'data.pkl'.length);
  const order = entries.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(order) !== 'little') {
    throw new DeftuneError(`${name}: byteorder is ${showValue(new TextDecoder().decode(order))}, expected little`);
  }
  const fail = (problem: string): never => {
    throw new DeftuneError(`${name}: ${problem}`);
  };
  const document = unpickle(entries.get(pickle) as Uint8Array, name, {
    values: STORAGES,
    callables: {
      'collections.OrderedDict': () => new Map(),
      'torch._utils._rebuild_tensor_v2': (storage, offset, size, stride) =>
        storage instanceof Storage
          ? new PickledTensor(viewOf(storage, offset, size, stride, fail))
          : fail(`a tensor has ${showValue(storage)} for a storage`),
      'torch._utils._rebuild_parameter': (tensor) => tensor,
    },
    persistent(id) {
      const [kind, dtype, key, , count] = Array.isArray(id) ? (id as unknown[]) : [];
      const data = entries.get(`${folder}data/${String(key)}`);
      if (kind !== 'storage' || typeof dtype !== 'string' || !data)
        return fail(`${showValue(id)} is no storage of the file`);
      const size = DTYPE_SIZES[dtype as Dtype];
      if (typeof count !== 'number' || count * size !== data.length) {
        return fail(
          `storage ${showValue(key)} has ${data.length} bytes, expected ${showValue(count)} elements of ${dtype}`,
        );
      }
      return new Storage(dtype as Dtype, data);
    },
  });
  if (!(document instanceof Map)) return fail(`the file holds ${showValue(document)}, expected tensors by name`);
  const tensors = new Map<string, StoredTensor>();
  for (const [key, value] of document) {
    if (typeof key !== 'string' || !(value instanceof PickledTensor)) {
      return fail(`${showValue(key)} is ${showValue(value)}, expected a tensor in 32 or 16 bits`);
    }
    tensors.set(key, value.stored);
  }
  return tensors;
}

/** A contiguous view on a storage. */
function viewOf(
  { dtype, bytes }: Storage,
  offset: unknown,
  size: unknown,
  stride: unknown,
  fail: (problem: string) => never,
): StoredTensor {
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isCount(offset) || !Array.isArray(size) || !size.every(isCount) || !Array.isArray(stride)) {
    return fail(`a tensor has offset ${showValue(offset)}, size ${showValue(size)} and stride ${showValue(stride)}`);
  }
  const length = size.reduce((product, dim) => product * dim, 1);
  let step = 1;
  for (let axis = size.length - 1; axis >= 0; axis--) {
    if (length > 0 && (size[axis] as number) > 1 && stride[axis] !== step) {
      return fail(`a tensor has size ${showValue(size)} and stride ${showValue(stride)}, expected it contiguous`);
    }
    step *= size[axis] as number;
  }
  const width = DTYPE_SIZES[dtype];
  if ((offset + length) * width > bytes.length) return fail(`a tensor of size ${showValue(size)} exceeds its storage`);
  return { dtype, shape: [...size], data: bytes.subarray(offset * width, (offset + length) * width) };
}
