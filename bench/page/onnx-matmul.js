// An ONNX model by hand: so little of protobuf needs no library. Field numbers are those of onnx.proto.

const varint = (value) => {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
};
const join = (parts) => {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};
const integer = (field, value) => Uint8Array.from([...varint(field * 8), ...varint(value)]);
const bytes = (field, content) => join([[...varint(field * 8 + 2), ...varint(content.length)], content]);
const text = (field, value) => bytes(field, new TextEncoder().encode(value));
const message = (field, ...parts) => bytes(field, join(parts));

const FLOAT = 1;
const valueInfo = (field, name, dims) => {
  const shape = message(2, ...dims.map((dim) => message(1, integer(1, dim))));
  return message(field, text(1, name), message(2, message(1, integer(1, FLOAT), shape)));
};

/** y0, y1, … = x [m, k] · w [k, n]: `products` times the same. */
export function matmulModel(m, k, n, weight, products) {
  const names = Array.from({ length: products }, (_, index) => `y${index}`);
  const nodes = names.map((name) => message(1, text(1, 'x'), text(1, 'w'), text(2, name), text(4, 'MatMul')));
  const raw = new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength);
  const initializer = message(5, integer(1, k), integer(1, n), integer(2, FLOAT), text(8, 'w'), bytes(9, raw));
  const outputs = names.map((name) => valueInfo(12, name, [m, n]));
  const graph = message(7, ...nodes, text(2, 'products'), initializer, valueInfo(11, 'x', [m, k]), ...outputs);
  return join([integer(1, 8), graph, message(8, text(1, ''), integer(2, 17))]);
}
