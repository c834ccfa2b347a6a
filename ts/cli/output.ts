import process from 'node:process';

/** Prints a result: as JSON with --json, else the lines for people. */
export function print(result: unknown, lines: readonly string[], json: boolean | undefined): void {
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : `${lines.join('\n')}\n`);
}

/** The notes on texts that were cut; none for a count of 0. @param kind e.g. `training` */
export function truncationNotes(count: number, maxLength: number, kind = ''): string[] {
  if (count === 0) return [];
  const [texts, were] = count === 1 ? ['text', 'was'] : ['texts', 'were'];
  return [`${count} ${kind}${kind && ' '}${texts} ${were} longer than ${maxLength} tokens and ${were} cut`];
}

/** Prints what a reader must not miss, on standard error. */
export function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
}
