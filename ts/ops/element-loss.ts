/** A loss on every element of an MLP's activations, as the core knows it: its index there and two parameters. */
export interface ElementLoss {
  index: number;
  p: number;
  q: number;
}

/** The losses of the core (`density/element`), each a mean over tokens and neurons. */
export const elementLosses = {
  none: { index: 0, p: 0, q: 0 },
  /** o² / (o² + eps) */
  l0: (eps: number): ElementLoss => ({ index: 1, p: eps, q: 0 }),
  /** |o| */
  l1: { index: 2, p: 0, q: 0 },
  /** (Σ|o|)² / (n Σo²) of each token */
  hoyer: { index: 3, p: 0, q: 0 },
  /** clamp((z + margin) / (margin + top), 0, 1) of what is before the activation */
  hinge: (margin: number, top: number): ElementLoss => ({ index: 4, p: margin, q: top }),
} as const;
