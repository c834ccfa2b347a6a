import { createRequire } from 'node:module';
import process from 'node:process';
import { DeftuneError } from '../error.js';
import type { Backend } from './backend.js';

/** Constructor that the addon exports. */
export type NativeConstructor = new (threads: number, isa: string) => Backend;

const require = createRequire(import.meta.url);

/**
 * Loads the addon: the one built in this checkout (`native/`), else the installed package of this platform.
 *
 * @throws DeftuneError naming each file or package tried.
 */
export function loadNative(): NativeConstructor {
  const platform = platformName();
  const candidates = [`../../native/deftune.${platform}.node`, `@deftune/native-${platform}`];
  const tried: string[] = [];
  for (const candidate of candidates) {
    try {
      return (require(candidate) as { NativeBackend: NativeConstructor }).NativeBackend;
    } catch (error) {
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      tried.push(`${candidate} (${reason.startsWith('Cannot find module') ? 'not found' : reason})`);
    }
  }
  throw new DeftuneError(`the native addon for ${platform} is missing: tried ${tried.join(', ')}`);
}

/** As napi-rs names platforms: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`, ... */
function platformName(): string {
  const suffix =
    process.platform === 'linux' ? (isMusl() ? '-musl' : '-gnu') : process.platform === 'win32' ? '-msvc' : '';
  return `${process.platform}-${process.arch}${suffix}`;
}

function isMusl(): boolean {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime === undefined;
}
