/** What the environment says about the hub, by the names Hugging Face's own tools read. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { RunError, UsageError } from '../errors.ts';

/** Where the hub is, who asks, where its files are kept. */
export interface HubEnvironment {
  /** Address without a slash at its end (`HF_ENDPOINT`). */
  endpoint: string;
  /** Sent to the endpoint alone (`HF_TOKEN`, else the file that `hf auth login` writes). */
  token: string | null;
  /** Folder of `models--ORG--NAME` (`HF_HUB_CACHE`, else `HF_HOME/hub`). */
  cache: string;
  /** How long a connection may stay silent (`HF_HUB_DOWNLOAD_TIMEOUT`, in seconds). */
  silenceMilliseconds: number;
}

const publicHub = 'https://huggingface.co';
/** The default of Hugging Face's own client. */
const defaultSilenceSeconds = 10;

/**
 * Read the variables; an empty one counts as not set.
 * @throws UsageError for a value that cannot be used, RunError with HF_HUB_OFFLINE.
 */
export function readEnvironment(variables: NodeJS.ProcessEnv): HubEnvironment {
  const value = (name: string) => variables[name]?.trim() || undefined;
  const path = (name: string) => value(name)?.replace(/^~(?=\/|$)/, homedir());
  const home = path('HF_HOME') ?? join(path('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  const cache = path('HF_HUB_CACHE') ?? path('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub');
  if (/^(1|on|yes|true)$/i.test(value('HF_HUB_OFFLINE') ?? '')) {
    throw new RunError(
      'HF_HUB_OFFLINE is set, expected a network to pull a model with',
      `unset it; what was pulled before is in ${cache}`,
    );
  }
  return {
    endpoint: readEndpoint(value('HF_ENDPOINT') ?? publicHub),
    token: readToken(value('HF_TOKEN'), path('HF_TOKEN_PATH') ?? join(home, 'token')),
    cache,
    silenceMilliseconds: 1000 * readSeconds('HF_HUB_DOWNLOAD_TIMEOUT', value('HF_HUB_DOWNLOAD_TIMEOUT')),
  };
}

function readEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const plain = url !== null && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (plain && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, '');
  // Not shown if it may hold a password.
  const found = text.includes('@') ? 'another text' : JSON.stringify(text);
  throw new UsageError(`HF_ENDPOINT: found ${found}, expected an address such as ${publicHub}`);
}

/** A token is never shown, not even a wrong one. */
function readToken(given: string | undefined, file: string): string | null {
  const token = given ?? readTokenFile(file);
  if (token === null || /^[\x21-\x7e]{1,4096}$/.test(token)) return token;
  const source = given === undefined ? file : 'HF_TOKEN';
  throw new UsageError(`${source}: found characters that no token has, expected one line such as hf_…`);
}

function readTokenFile(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim() || null;
  } catch {
    return null;
  }
}

function readSeconds(name: string, text: string | undefined): number {
  if (text === undefined) return defaultSilenceSeconds;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 86_400) return seconds;
  throw new UsageError(`${name}: found ${JSON.stringify(text)}, expected seconds, such as ${defaultSilenceSeconds}`);
}
