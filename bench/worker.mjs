import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A process that answers one line with one line; stderr passes through. */
export class Worker {
  #child;
  #answers = [];
  #waiting = [];
  #ended;

  constructor(name, command, args, env = {}) {
    this.name = name;
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
    this.#child.on('error', (error) => this.#end(error.message));
    this.#child.on('exit', (code, signal) => this.#end(`ended (${signal ?? `exit code ${code}`})`));
    this.#child.stdin.on('error', () => {}); // reported by exit
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const next = this.#waiting.shift();
      if (next) next.resolve(line);
      else this.#answers.push(line);
    });
  }

  #end(why) {
    this.#ended ??= `${this.name}: ${why}`;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(this.#ended));
  }

  /** The answer as text. Throws what the worker calls an error. */
  async ask(line) {
    if (this.#ended) throw new Error(this.#ended);
    this.#child.stdin.write(`${line}\n`);
    const answer =
      this.#answers.shift() ?? (await new Promise((resolve, reject) => this.#waiting.push({ resolve, reject })));
    if (answer.startsWith('error: ')) throw new Error(`${this.name}: ${answer.slice(7)}`);
    return answer;
  }

  /** The answer as a number. */
  async number(line) {
    const answer = await this.ask(line);
    const value = Number(answer);
    if (answer === '' || !Number.isFinite(value)) throw new Error(`${this.name}: ${line}: answered ${answer}`);
    return value;
  }

  /** Ends the process. */
  close() {
    this.#ended ??= `${this.name}: closed`;
    this.#child.stdin.end();
  }
}

/**
 * The smallest answer of each worker, asked in turn `rounds` times, so that a slow moment of the machine meets all of them.
 *
 * @param asked pairs of worker (undefined: absent) and line
 * @returns seconds, undefined for an absent worker
 */
export async function interleaved(asked, rounds) {
  const best = asked.map(([worker]) => (worker ? Infinity : undefined));
  for (let round = 0; round < rounds; round++) {
    for (const [index, [worker, line]] of asked.entries()) {
      if (worker) best[index] = Math.min(best[index], await worker.number(line));
    }
  }
  return best;
}
