/**
 * What a compute backend must offer. The native addon and the WebAssembly module are both generated from the one list in
 * `crates/core/src/engine/list.rs`; a test compares this interface with what they export.
 *
 * Tensors are two-dimensional and named by handles (positive integers; 0 means "none"). Every call can throw an `Error` with a one-line
 * message.
 */
export interface Backend {
  isaName(): string;
  isaAvailable(): string[];
  threads(): number;

  uploadF32(data: Float32Array, rows: number, cols: number): number;
  uploadI32(data: Int32Array, rows: number, cols: number): number;
  /** `dtype` is F32, F16 or BF16; little-endian bytes, widened to f32. */
  uploadBytes(data: Uint8Array, dtype: string, rows: number, cols: number): number;
  readF32(x: number): Float32Array;
  writeF32(x: number, data: Float32Array): number;

  zeros(rows: number, cols: number): number;
  duplicate(x: number): number;
  free(x: number): number;
  beginScope(): number;
  endScope(): number;
  /** Moves a tensor `levels` scopes outwards; 0: out of all of them. */
  keep(x: number, levels: number): number;
  /** Keeps a weight in its packed forms only, rounded where `precision` is bf16. Writing to it makes it f32 again. */
  freezeWeight(weight: number, precision: string): number;
  liveTensors(): number;
  liveBytes(): number;

  add(a: number, b: number): number;
  addInPlace(y: number, x: number, scale: number): number;
  scale(x: number, factor: number): number;
  mul(a: number, b: number): number;
  div(a: number, b: number): number;
  activation(x: number, kind: number): number;
  activationBackward(x: number, dy: number, kind: number): number;
  gatherRows(table: number, ids: number): number;
  scatterAddRows(dy: number, ids: number, rows: number): number;
  sumRows(x: number): number;
  sumSquares(x: number): number;
  toDense(x: number): number;

  concatSequences(a: number, b: number, cuA: number, cuB: number): number;
  concatSequencesBackward(
    dout: number,
    frontRows: number,
    cuA: number,
    cuB: number,
    wantA: boolean,
    wantB: boolean,
  ): ArrayLike<number>;
  sliceCols(x: number, start: number, width: number): number;
  putCols(y: number, x: number, start: number): number;
  scaleCols(x: number, factors: number, shift: number): number;
  sumProducts(a: number, b: number): number;
  rowNorms(x: number): number;

  linear(x: number, weight: number, bias: number): number;
  linearAdd(y: number, x: number, weight: number, scale: number): number;
  linearBackwardInput(dy: number, weight: number, pattern: number): number;
  linearBackwardInputAdd(dx: number, dy: number, weight: number, scale: number): number;
  linearBackwardWeight(dy: number, x: number, scale: number): number;

  /** `[o, featureMap, elementMean, pre]`; `element` with `p` and `q` is an `ElementLoss` of the core. */
  activate(pre: number, kind: number, element: number, p: number, q: number, cutoff: number): ArrayLike<number>;
  linearActivate(
    x: number,
    weight: number,
    bias: number,
    kind: number,
    element: number,
    p: number,
    q: number,
    cutoff: number,
  ): ArrayLike<number>;
  activateBackward(
    grad: number,
    out: number,
    pre: number,
    mapGrad: number,
    elementGrad: number,
    kind: number,
    element: number,
    p: number,
    q: number,
    cutoff: number,
  ): number;
  /** `[o, featureMap, elementMean]` */
  gatedActivate(
    pre: number,
    up: number,
    kind: number,
    element: number,
    p: number,
    q: number,
    cutoff: number,
  ): ArrayLike<number>;
  gatedActivateBackward(
    grad: number,
    out: number,
    pre: number,
    up: number,
    mapGrad: number,
    elementGrad: number,
    kind: number,
    element: number,
    p: number,
    q: number,
    cutoff: number,
  ): ArrayLike<number>;
  nonzeros(out: number): number;

  layerNorm(x: number, gamma: number, beta: number, eps: number): ArrayLike<number>;
  addLayerNorm(
    x: number,
    residual: number,
    p: number,
    seed: number,
    stream: number,
    gamma: number,
    beta: number,
    eps: number,
  ): ArrayLike<number>;
  layerNormBackward(dy: number, x: number, stats: number, gamma: number, affine: boolean): ArrayLike<number>;
  rmsNorm(x: number, gamma: number, eps: number): ArrayLike<number>;
  rmsNormBackward(dy: number, x: number, rstd: number, gamma: number, affine: boolean): ArrayLike<number>;
  dropout(x: number, p: number, seed: number, stream: number): number;
  dropoutAdd(x: number, residual: number, p: number, seed: number, stream: number): number;
  attention(
    q: number,
    k: number,
    v: number,
    cuQ: number,
    cuK: number,
    heads: number,
    causal: boolean,
    scale: number,
    p: number,
    seed: number,
    stream: number,
    biasTable: number,
    bidirectional: boolean,
    maxDistance: number,
    unbiasedKeys: number,
  ): ArrayLike<number>;
  attentionBackward(
    dout: number,
    q: number,
    k: number,
    v: number,
    out: number,
    lse: number,
    cuQ: number,
    cuK: number,
    heads: number,
    causal: boolean,
    scale: number,
    p: number,
    seed: number,
    stream: number,
    biasTable: number,
    bidirectional: boolean,
    maxDistance: number,
    unbiasedKeys: number,
    wantBias: boolean,
  ): ArrayLike<number>;

  /** `[loss, dLogits]` */
  crossEntropy(logits: number, labels: number, smoothing: number): ArrayLike<number>;
  /** `[loss, rowLosses, dHidden, dWeight, dBias, hits]`; hits only where no gradient is wanted */
  linearCrossEntropy(
    hidden: number,
    weight: number,
    bias: number,
    labels: number,
    smoothing: number,
    wantHidden: boolean,
    wantWeight: boolean,
    wantBias: boolean,
  ): ArrayLike<number>;
  /** `[loss, dlogits]` */
  sequenceCrossEntropy(logits: number, labels: number, cu: number): ArrayLike<number>;
  meanSquaredError(prediction: number, target: number): ArrayLike<number>;
  densityValue(map: number, kind: number, parameter: number): number;
  densityGradient(map: number, kind: number, parameter: number, scale: number): number;
  adamwStep(
    param: number,
    grad: number,
    m: number,
    v: number,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    step: number,
    gradScale: number,
  ): number;
}

/** Which backend to use and how. */
export interface BackendOptions {
  /** `native` (the Rust addon) or `wasm`; default: native, or wasm where the addon cannot be loaded. */
  backend?: 'native' | 'wasm' | undefined;
  /** Threads, 1 to 256; default 0: all cores, in a browser at most 8. WebAssembly in Node uses one. */
  threads?: number | undefined;
  /** Instruction set: `avx512`, `avx2`, `neon`, `scalar`, ...; default: the best one of this CPU. */
  isa?: string | undefined;
}
