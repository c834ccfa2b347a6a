export const ACTIVATIONS = [
  ...['relu', 'gelu', 'gelu_new', 'silu', 'tanh', 'identity'],
  ...['quick_gelu', 'sigmoid', 'leaky_relu', 'relu2', 'relu6', 'mish'],
];

/** Those without a derivative (or a second one) at 0. */
export const KINKED: readonly string[] = ['relu', 'leaky_relu', 'relu2', 'relu6'];
