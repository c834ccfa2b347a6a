import type { HubSettings } from './hub-settings-node.js';

/** Thrown when the hub gives no answer: no network, a wrong address, a connection that is cut. */
export class HubUnreachable extends Error {
  /** @param code what the system calls it, such as ENOTFOUND */
  constructor(
    readonly code: string,
    options?: { cause?: unknown },
  ) {
    super(`no answer (${code})`, options);
  }
}

/** Attempts at one request that fails in a way that may pass. */
const ATTEMPTS = 5;
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

/** Sends requests to one hub, with its token, and again where a failure may pass. */
export class HubClient {
  readonly endpoint: string;
  readonly patience: number;
  readonly #token: string | undefined;
  /** `X-Error-Code` of the last refusal. */
  errorCode: string | undefined;

  constructor({ endpoint, token, patience }: HubSettings) {
    this.endpoint = endpoint;
    this.#token = token;
    this.patience = patience;
  }

  /**
   * `fetch`, with the token (which a redirect to another host leaves behind), a limit on the time to the answer, and further attempts.
   *
   * @throws HubUnreachable when the last attempt gets no answer
   */
  readonly fetch: typeof fetch = async (input, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('user-agent', 'deftune');
    if (this.#token !== undefined) headers.set('authorization', `Bearer ${this.#token}`);
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#send(input, { ...init, headers });
        if (!PASSING.has(response.status) || attempt === ATTEMPTS) {
          this.errorCode = response.ok ? undefined : (response.headers.get('x-error-code') ?? undefined);
          return response;
        }
        await response.body?.cancel();
      } catch (cause) {
        init.signal?.throwIfAborted();
        if (attempt === ATTEMPTS || !mayPass(codeOf(cause))) throw new HubUnreachable(codeOf(cause), { cause });
      }
      await pause(attempt, init.signal ?? undefined);
    }
  };

  /** Stops waiting for the head of the answer; whoever reads the body watches that. */
  async #send(input: Parameters<typeof fetch>[0], init: RequestInit): Promise<Response> {
    const waiting = new AbortController();
    const timer = setTimeout(
      () => waiting.abort(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
      this.patience * 1000,
    );
    const signals = [waiting.signal, ...(init.signal ? [init.signal] : [])];
    try {
      return await fetch(input, { ...init, signal: AbortSignal.any(signals) });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What the system calls the reason of a failed `fetch`. */
export function codeOf(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
    // A host with several addresses fails with one error for each.
    if (at instanceof AggregateError && at.errors.length > 0) return codeOf(at.errors[0]);
  }
  return error instanceof Error ? error.message : String(error);
}

/** Without a network, a name or a server, nobody waits for the next attempt. */
function mayPass(code: string): boolean {
  return !['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH'].includes(code);
}

/** Waits longer after each attempt: 0.25 s, 0.5 s, 1 s, … */
export async function pause(attempt: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(250 * 2 ** (attempt - 1), 8000));
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });
}
