/** Node's: runs after what is waiting. Browsers lack it. */
declare const setImmediate: ((then: () => void) => unknown) | undefined;

/**
 * Lets timers, input and drawing run between two steps. In Node a timer of 0 ms would cost 1 ms, a tenth of a short sentence's forward pass; of two
 * immediates the second comes after the timers that are due.
 */
export function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(() => setImmediate?.(resolve));
    else setTimeout(resolve, 0);
  });
}
