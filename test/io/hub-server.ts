import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A repository of the test hub. */
export interface TestRepository {
  commit: string;
  files: Record<string, Buffer>;
}

/** What goes wrong with one answer that has content; every field is optional. */
export interface Fault {
  /** Cut the connection after so many bytes of the body. */
  cutAfter?: number;
  /** Send these bytes instead of the rest of the file. */
  body?: Buffer;
  /** Take no notice of a range. */
  noRanges?: boolean;
  /** Answer with this status and nothing else. */
  status?: number;
  errorCode?: string;
  /** Send the head and so many bytes, then nothing. */
  stallAfter?: number;
  /** Send the caller to another server. */
  redirect?: string;
  /** Milliseconds between pieces of 64 kB. */
  slow?: number;
}

export interface SeenRequest {
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

/** A hub on this machine: the paths of the Hugging Face hub that a download needs, with faults to order. */
export class TestHub {
  readonly repositories = new Map<string, TestRepository>();
  readonly requests: SeenRequest[] = [];
  /** Decides what goes wrong with a request. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    await new Promise<void>((resolve) => hub.#server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Requests for the contents of files, in order. */
  transfers(): SeenRequest[] {
    return this.requests.filter(({ path }) => path.includes('/resolve/'));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent((request.url ?? '').split('?')[0]!);
    const seen = { path, range: request.headers.range, authorization: request.headers.authorization };
    this.requests.push(seen);
    const fault = this.fault(seen) ?? {};
    if (fault.redirect !== undefined) {
      response.writeHead(302, { location: fault.redirect + (request.url ?? '') }).end();
      return;
    }
    const refuse = (status: number, errorCode?: string): void => {
      const headers = { 'content-type': 'application/json', ...(errorCode ? { 'x-error-code': errorCode } : {}) };
      response.writeHead(status, headers).end(JSON.stringify({ error: errorCode ?? 'error' }));
    };
    if (fault.status !== undefined) return refuse(fault.status, fault.errorCode);

    const found = /^\/(?:api\/models\/)?([\w.-]+(?:\/[\w.-]+)?)\/(revision|tree|resolve)\/(.+)$/.exec(path);
    const repository = this.repositories.get(found?.[1] ?? '');
    if (!found || !repository) return refuse(404, 'RepoNotFound');
    const [, id, verb, rest = ''] = found;
    if (verb === 'resolve') {
      const [commit, ...name] = rest.split('/');
      const content = commit === repository.commit || commit === 'main' ? repository.files[name.join('/')] : undefined;
      if (!content) return refuse(404, 'EntryNotFound');
      // What huggingface_hub looks at.
      const hash = hashOf(name.join('/'), content);
      response.setHeader('x-repo-commit', repository.commit);
      response.setHeader('etag', `"${hash}"`);
      if (hash.length === 64) {
        response.setHeader('x-linked-etag', `"${hash}"`);
        response.setHeader('x-linked-size', content.length);
      }
      if (request.method === 'HEAD') {
        response.writeHead(200, { 'content-length': content.length }).end();
        return;
      }
      return this.#send(content, seen.range, fault, response);
    }
    if (rest !== repository.commit && rest !== 'main' && rest !== 'refs/pr/1') return refuse(404, 'RevisionNotFound');
    const json = verb === 'revision' ? { _id: '1', id, sha: repository.commit } : treeOf(repository);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json));
  }

  async #send(content: Buffer, range: string | undefined, fault: Fault, response: ServerResponse): Promise<void> {
    const start = range && !fault.noRanges ? Number(/bytes=(\d+)-/.exec(range)?.[1]) : 0;
    let body = content.subarray(start);
    if (fault.body) body = fault.body.subarray(start);
    const isPart = range !== undefined && !fault.noRanges;
    response.writeHead(isPart ? 206 : 200, {
      'content-length': body.length,
      ...(isPart ? { 'content-range': `bytes ${start}-${start + body.length - 1}/${start + body.length}` } : {}),
    });
    const limit = fault.cutAfter ?? fault.stallAfter ?? body.length;
    for (let at = 0; at < Math.min(limit, body.length); at += 65_536) {
      const piece = body.subarray(at, Math.min(at + 65_536, limit));
      await new Promise((resolve) => response.write(piece, resolve));
      if (fault.slow) await new Promise((resolve) => setTimeout(resolve, fault.slow));
    }
    if (fault.cutAfter !== undefined && limit < body.length) {
      // What was written has to arrive before the connection goes.
      setTimeout(() => response.destroy(), 20);
    } else if (fault.stallAfter === undefined) response.end();
  }
}

/** SHA-1 as git counts it, of a header and the content. */
export function gitHash(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

/** The hub's name for a content: large files and weights are in LFS. */
export function hashOf(name: string, content: Buffer): string {
  return isLfs(name) ? createHash('sha256').update(content).digest('hex') : gitHash(content);
}

function isLfs(name: string): boolean {
  return /\.(?:safetensors|bin)$/.test(name);
}

function treeOf({ files }: TestRepository): unknown[] {
  const entries = Object.entries(files).map(([path, content]) => {
    const size = content.length;
    const lfs = isLfs(path) ? { lfs: { oid: hashOf(path, content), size, pointerSize: 130 } } : {};
    return { type: 'file', path, size, oid: isLfs(path) ? gitHash(Buffer.from(path)) : gitHash(content), ...lfs };
  });
  return [{ type: 'directory', path: 'onnx', size: 0, oid: '0'.repeat(40) }, ...entries];
}
