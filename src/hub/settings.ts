/** What the environment says of the hub: the variables of Hugging Face's Python library. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { readError, systemCode } from '../checkpoint/io-errors.ts';
import { invalidArgument, WgqaError } from '../errors.ts';

export interface HubSettings {
  /** Where the hub is, without a slash at the end. */
  readonly endpoint: string;
  /** Holds `models--org--name` and its like. */
  readonly cacheDirectory: string;
  readonly token: string | undefined;
  /** Nothing is asked of the network. */
  readonly offline: boolean;
  /** Of a server that sends nothing. */
  readonly timeoutMs: number;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_ENDPOINT = 'https://huggingface.co';
const DEFAULT_TIMEOUT_SECONDS = 30;
const MAX_TOKEN_LENGTH = 4096;

/**
 * Reads HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT and
 * their older names; `given` goes before them.
 * @throws WgqaError INVALID_ARGUMENT for a variable without meaning; IO
 */
export async function readSettings(
  environment: Environment,
  given: { readonly cacheDir?: string; readonly offline?: boolean } = {},
): Promise<HubSettings> {
  const home = hubHome(environment);
  const cache =
    given.cacheDir ??
    variable(environment, 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ??
    path.join(home, 'hub');
  return {
    endpoint: readEndpoint(environment),
    cacheDirectory: path.resolve(expandHome(cache)),
    token: await readToken(environment, home),
    offline:
      given.offline ??
      ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].some((name) => isTrue(environment[name])),
    timeoutMs: 1000 * readTimeout(environment),
  };
}

function hubHome(environment: Environment): string {
  const home = variable(environment, 'HF_HOME');
  if (home !== undefined) return expandHome(home);
  const cache = variable(environment, 'XDG_CACHE_HOME') ?? path.join(homedir(), '.cache');
  return path.join(expandHome(cache), 'huggingface');
}

function readEndpoint(environment: Environment): string {
  const text = variable(environment, 'HF_ENDPOINT') ?? DEFAULT_ENDPOINT;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && ['https:', 'http:'].includes(url.protocol)) {
    return text.replace(/\/+$/, '');
  }
  throw invalidArgument('HF_ENDPOINT', 'the http(s) address of a hub', text);
}

function readTimeout(environment: Environment): number {
  const text = variable(environment, 'HF_HUB_DOWNLOAD_TIMEOUT');
  if (text === undefined) return DEFAULT_TIMEOUT_SECONDS;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 86_400) return seconds;
  throw invalidArgument('HF_HUB_DOWNLOAD_TIMEOUT', 'a number of seconds up to 86400', text);
}

async function readToken(environment: Environment, home: string): Promise<string | undefined> {
  if (isTrue(environment['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  const named = variable(environment, 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN');
  if (named !== undefined) return checkToken(named, 'HF_TOKEN');
  const file = expandHome(variable(environment, 'HF_TOKEN_PATH') ?? path.join(home, 'token'));
  try {
    const text = (await readFile(file, 'utf8')).trim();
    return text === '' ? undefined : checkToken(text, file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) return undefined;
    throw readError(error, file);
  }
}

/** A header of HTTP must be able to hold it. The token itself is in no message. */
function checkToken(text: string, field: string): string {
  const token = text.trim();
  if (token.length <= MAX_TOKEN_LENGTH && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new WgqaError('INVALID_ARGUMENT', `${field} does not hold an access token of the hub`, {
    field,
    allowed: 'one line of printable ASCII characters',
  });
}

/** The first of `names` that is set and not empty. */
function variable(environment: Environment, ...names: readonly string[]): string | undefined {
  return names.map((name) => environment[name]?.trim()).find(Boolean);
}

function isTrue(text: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(text?.trim().toUpperCase() ?? '');
}

function expandHome(file: string): string {
  return file.replace(/^~(?=\/|$)/, homedir());
}
