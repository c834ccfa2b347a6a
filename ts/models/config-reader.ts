import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { ACTIVATION_NAMES } from '../ops/activation-kind.js';

/** Reads fields of a config.json, with errors that name the file and the field. */
export class ConfigReader {
  constructor(
    private readonly config: Readonly<Record<string, unknown>>,
    private readonly name: string,
  ) {}

  /** A whole number in a range. */
  integer(
    field: string,
    { min = 1, max = 1e7, fallback }: { min?: number; max?: number; fallback?: number } = {},
  ): number {
    const value = this.config[field] ?? fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return this.fail(field, value, `a whole number from ${min} to ${max}`);
  }

  /** A number in a range (bounds included). */
  number(
    field: string,
    { min = -Infinity, max = Infinity, fallback }: { min?: number; max?: number; fallback?: number },
  ): number {
    const value = this.config[field] ?? fallback;
    if (typeof value === 'number' && value >= min && value <= max) return value;
    return this.fail(field, value, `a number from ${min} to ${max}`);
  }

  /** One whole number for height and width, or [height, width]. */
  pair(field: string, { max, fallback }: { max: number; fallback: number }): readonly [number, number] {
    const value = this.config[field] ?? fallback;
    const [first, second, ...rest]: unknown[] = Array.isArray(value) ? value : [value, value];
    const fits = (side: unknown): side is number => Number.isInteger(side) && Number(side) >= 1 && Number(side) <= max;
    if (fits(first) && fits(second) && rest.length === 0) return [first, second];
    return this.fail(field, value, `a whole number from 1 to ${max}, or two of them`);
  }

  boolean(field: string, fallback: boolean): boolean {
    const value = this.config[field] ?? fallback;
    if (typeof value === 'boolean') return value;
    return this.fail(field, value, 'true or false');
  }

  /** A token id; undefined where the field is absent. */
  tokenId(field: string): number | undefined {
    const value = this.config[field] ?? undefined;
    if (value === undefined || isTokenId(value)) return value;
    return this.fail(field, value, 'a token id');
  }

  /** A token id or a list of them. */
  tokenIds(field: string): number[] {
    const value = this.config[field] ?? [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    return ids.every(isTokenId) ? ids : this.fail(field, value, 'a token id or a list of them');
  }

  string(field: string, fallback?: string): string {
    const value = this.config[field] ?? fallback;
    if (typeof value === 'string') return value;
    return this.fail(field, value, 'a string');
  }

  /** Name of an MLP activation. @param prefix that it may have, and is returned with */
  activation(field: string, fallback?: string, prefix = ''): string {
    const name = this.string(field, fallback);
    if (ACTIVATION_NAMES.includes(name.startsWith(prefix) ? name.slice(prefix.length) : name)) return name;
    const known = ACTIVATION_NAMES.join(', ');
    return this.fail(field, name, prefix === '' ? `one of ${known}` : `one of ${known}, with or without ${prefix}`);
  }

  /** Error unless the field has this value or is absent. */
  only(field: string, supported: unknown): void {
    const value = this.config[field] ?? supported;
    if (value !== supported) this.fail(field, value, `${showValue(supported)} (nothing else is supported yet)`);
  }

  /** Error unless `divisor` divides `value`. */
  divides(divisorField: string, divisor: number, field: string, value: number): void {
    if (value % divisor !== 0) this.fail(divisorField, divisor, `a divisor of ${field} (${value})`);
  }

  /** Label names from `id2label`, if it is there. */
  labelNames(): string[] | undefined {
    const map = this.config['id2label'];
    if (map === undefined || map === null) return undefined;
    if (typeof map !== 'object') return this.fail('id2label', map, 'an object of names by index');
    const names = Object.entries(map as Record<string, unknown>).map(([, name]) => String(name));
    return names;
  }

  private fail(field: string, value: unknown, expected: string): never {
    throw new DeftuneError(`${this.name}: ${field} is ${showValue(value)}, expected ${expected}`);
  }
}

/** Whether it is a whole number, as token ids are; one outside the vocabulary is never met. */
function isTokenId(value: unknown): value is number {
  return Number.isInteger(value);
}
