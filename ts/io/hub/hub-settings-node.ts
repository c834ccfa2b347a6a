import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { DeftuneError } from '../../error.js';
import { showValue } from '../show-value.js';

/** Where models are downloaded from, and where they are kept. */
export interface HubSettings {
  /** Address of the hub, without a slash at the end. */
  endpoint: string;
  /** Access token, for private and gated repositories. */
  token: string | undefined;
  /** The folder with a folder for each repository. */
  cacheDir: string;
  /** Whether only the cache is looked at. */
  offline: boolean;
  /** Seconds without a byte after which a connection counts as lost. */
  patience: number;
}

/**
 * The settings that the environment gives, with the names and defaults of Python's huggingface_hub: `HF_ENDPOINT`, `HF_TOKEN` (or
 * the file at `HF_TOKEN_PATH`, by default HF_HOME/token), `HF_HUB_CACHE` (HF_HOME/hub), `HF_HOME` (~/.cache/huggingface),
 * `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` (30 s).
 *
 * @param overrides settings that win over the environment
 * @throws DeftuneError when the endpoint is no address
 */
export function hubSettings(
  overrides: Partial<HubSettings> = {},
  environment: NodeJS.ProcessEnv = process.env,
): HubSettings {
  const get = (...names: string[]): string | undefined => names.map((name) => environment[name]).find((value) => value);
  const home = expand(get('HF_HOME') ?? join(get('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface'));
  const endpoint = (overrides.endpoint ?? get('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, '');
  if (!URL.canParse(endpoint) || !/^https?:/.test(endpoint)) {
    throw new DeftuneError(`HF_ENDPOINT is ${showValue(endpoint)}, expected an address such as https://huggingface.co`);
  }
  const patience = Number(get('HF_HUB_DOWNLOAD_TIMEOUT'));
  return {
    endpoint,
    token:
      overrides.token ??
      get('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ??
      readToken(expand(get('HF_TOKEN_PATH') ?? join(home, 'token'))),
    cacheDir: overrides.cacheDir ?? expand(get('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    offline: overrides.offline ?? /^(?:1|on|yes|true)$/i.test(get('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE') ?? ''),
    patience: overrides.patience ?? (patience > 0 ? patience : 30),
  };
}

function readToken(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    // Most people have none; who needs one hears of it from the hub.
    return undefined;
  }
}

function expand(path: string): string {
  return path.replace(/^~(?=$|[/\\])/, homedir());
}
