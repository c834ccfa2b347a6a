/**
 * A backend whose calls are timed, by name.
 *
 * @returns the backend, and `take()`: milliseconds and number of the calls since it was last asked, as `[name, ms, calls]`, longest first
 */
export function timedCalls(backend) {
  const spent = new Map();
  const methods = new Map();
  const timed = (name, method) => {
    return (...args) => {
      const started = performance.now();
      try {
        return method.apply(backend, args);
      } finally {
        const sum = spent.get(name) ?? { ms: 0, calls: 0 };
        spent.set(name, { ms: sum.ms + performance.now() - started, calls: sum.calls + 1 });
      }
    };
  };
  return {
    backend: new Proxy(backend, {
      get(_, name) {
        const value = backend[name];
        if (typeof value !== 'function') return value;
        if (!methods.has(name)) methods.set(name, timed(name, value));
        return methods.get(name);
      },
    }),
    take() {
      const lines = [...spent].map(([name, { ms, calls }]) => [name, ms, calls]).sort(([, a], [, b]) => b - a);
      spent.clear();
      return lines;
    },
  };
}
