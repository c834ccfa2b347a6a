// Every bad input: exit code 1, one line on standard error that names what is wrong, nothing written.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { runDeftune, temporaryFolder } from '../run-deftune.js';
import { Place } from './place.js';

export type Case = [what: string, args: (place: Place) => string[], message: RegExp];

/** Every file below a folder, with what it holds. */
export function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    names
      .filter((name) => name.isFile())
      .map(({ parentPath, name }) => [join(parentPath, name), readFileSync(join(parentPath, name), 'base64')]),
  );
}

/** Runs a command that has to fail, and checks what it says. */
export async function fails(t: ExecutionContext, args: readonly string[], message: RegExp): Promise<void> {
  const { stdout, stderr } = await runDeftune(t, args, { code: 1 });
  t.is(stdout, '');
  const lines = stderr.trimEnd().split('\n');
  // Notes and progress may come before it.
  const errors = lines.filter((line) => !/^(note: |(PEFT|DEFT|predict|eval|density) )/.test(line));
  t.is(errors.length, 1, stderr);
  t.is(errors[0], lines.at(-1));
  t.regex(errors[0] ?? '', message);
  t.true(errors[0]?.startsWith('error: '));
  t.true((errors[0]?.length ?? 0) < 1500, 'the line is too long to read');
}

/** Declares a test for each case. @param kind what the cases are about, before their titles */
export function refused(kind: string, cases: readonly Case[]): void {
  for (const [what, args, message] of cases) {
    test(`${kind}: ${what}`, async (t) => {
      const place = new Place(temporaryFolder(t));
      const given = args(place);
      const before = contents(place.folder);
      await fails(t, given, message);
      t.deepEqual(contents(place.folder), before);
      t.false(existsSync(place.out));
    });
  }
}
