/** Every differentiable operation. A test asks a gradient check for each export. */
export { activate, gatedActivate, linearActivate } from './activate.js';
export { attention } from './attention.js';
export { concatCols, scaleCols, splitCols } from './columns.js';
export { concatSequences, prependRows } from './concat-sequences.js';
export { densityValue } from './density-value.js';
export { doraLinear } from './dora-linear.js';
export { dropout, dropoutAdd } from './dropout.js';
export { activation, add, div, mul, scale } from './elementwise.js';
export { gatherRows } from './gather-rows.js';
export { addLayerNorm, layerNorm } from './layer-norm.js';
export { linear } from './linear.js';
export { linearCrossEntropy } from './linear-cross-entropy.js';
export { loraLinear } from './lora-linear.js';
export { rmsNorm } from './rms-norm.js';
export { crossEntropy, meanSquaredError, sequenceCrossEntropy } from './task-losses.js';
