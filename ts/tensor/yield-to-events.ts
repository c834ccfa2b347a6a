/** Lets timers, input and drawing run between two steps. */
export function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0);
  });
}
