import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** a + b, of one shape. */
export function add(a: Tensor, b: Tensor): Tensor {
  const { backend } = a;
  return recordOne('add', backend, [a, b], backend.add(a.handle, b.handle), a.shape, (dy) => [dy, dy]);
}

/** x · factor. */
export function scale(x: Tensor, factor: number): Tensor {
  const { backend } = x;
  const out = backend.scale(x.handle, factor);
  return recordOne('scale', backend, [x], out, x.shape, (dy) => [backend.scale(dy, factor)]);
}

/** a · b elementwise, of one shape. */
export function mul(a: Tensor, b: Tensor): Tensor {
  const { backend } = a;
  return recordOne('mul', backend, [a, b], backend.mul(a.handle, b.handle), a.shape, (dy) => [
    a.requiresGrad ? backend.mul(dy, b.handle) : 0,
    b.requiresGrad ? backend.mul(dy, a.handle) : 0,
  ]);
}

/** a / b elementwise, of one shape. */
export function div(a: Tensor, b: Tensor): Tensor {
  const { backend } = a;
  const out = backend.div(a.handle, b.handle);
  return recordOne('div', backend, [a, b], out, a.shape, (dy) => {
    const da = backend.div(dy, b.handle);
    return [da, b.requiresGrad ? backend.scale(backend.mul(da, out), -1) : 0];
  });
}

/** f(x) on plain values (a pooler's tanh); `kind` as in `activationKind`. */
export function activation(x: Tensor, kind: number): Tensor {
  const { backend } = x;
  const out = backend.activation(x.handle, kind);
  return recordOne('activation', backend, [x], out, x.shape, (dy) => [backend.activationBackward(x.handle, dy, kind)]);
}
