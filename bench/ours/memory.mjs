import { readFileSync } from 'node:fs';

/** The most memory that this process has held, in bytes. */
export function peakMemory() {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  return line ? Number(line[1]) * 1024 : process.resourceUsage().maxRSS * 1024;
}
