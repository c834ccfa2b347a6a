import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { showValue } from './show-value.js';

/** Checks settings against a schema. @throws DeftuneError, one line: the first field that is wrong, its value, what is expected. */
export function validate<T>(schema: z.ZodType<T>, value: unknown, name: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  const at = issue.path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  const field = issue.path.length > 0 ? `${issue.path.join('.')} is ${showValue(at)}, ` : '';
  throw new DeftuneError(`${name}: ${field}${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)}`);
}
