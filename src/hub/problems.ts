/** Errors of the hub and of the way there, each with its cure. */
import { WgqaError } from '../errors.ts';

/** What an error says of the model that was asked for. */
export interface Subject {
  readonly repository: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly hasToken: boolean;
}

/** A failure that may pass: a cut connection, a busy server. */
export class PassingProblem extends Error {
  /** What the server asks to wait for. */
  readonly waitMs: number | undefined;

  constructor(message: string, details: { cause?: unknown; waitMs?: number | undefined } = {}) {
    super(message, { cause: details.cause });
    this.waitMs = details.waitMs;
  }
}

const PASSING_STATUSES = [408, 425, 429, 500, 502, 503, 504];
const MAX_WAIT_SECONDS = 60;

/** The error of a response that is not what was asked for. */
export function problemOf(
  response: { readonly status: number; readonly headers: { get(name: string): string | null } },
  subject: Subject,
): WgqaError | PassingProblem {
  const { status, headers } = response;
  if (PASSING_STATUSES.includes(status)) {
    const seconds = Number(headers.get('retry-after') ?? NaN);
    const waitMs = seconds >= 0 ? 1000 * Math.min(seconds, MAX_WAIT_SECONDS) : undefined;
    const reason = status === 429 ? ': too many requests' : '';
    return new PassingProblem(`${subject.endpoint} answered with ${status}${reason}`, { waitMs });
  }
  const code = headers.get('x-error-code');
  if (code === 'GatedRepo') return gated(subject);
  if (code === 'RevisionNotFound') return revisionNotFound(subject);
  if (code === 'EntryNotFound') return entryNotFound(subject);
  if (status === 401 || status === 403 || status === 404 || code === 'RepoNotFound') {
    const invalid = headers.get('x-error-message')?.includes('Invalid credentials') ?? false;
    return invalid ? badToken(subject) : repositoryNotFound(subject);
  }
  return new WgqaError('NETWORK', `${subject.endpoint} answered with status ${status}`, {
    field: subject.repository,
  });
}

function gated({ repository, endpoint, hasToken }: Subject): WgqaError {
  const cure = hasToken
    ? 'ask for access on its page with the account whose token HF_TOKEN or the token file holds'
    : 'ask for access on its page, then set HF_TOKEN to an access token of your account';
  return new WgqaError(
    'ACCESS_DENIED',
    `${repository} is gated: ${cure} (${endpoint}/${repository})`,
    { field: repository },
  );
}

function badToken({ endpoint }: Subject): WgqaError {
  return new WgqaError(
    'ACCESS_DENIED',
    `${endpoint} does not know the access token of HF_TOKEN or of the token file: renew it, or remove it`,
    { field: 'HF_TOKEN' },
  );
}

function revisionNotFound({ repository, revision }: Subject): WgqaError {
  return new WgqaError('NOT_FOUND', `${repository} has no revision ${revision}`, {
    field: 'revision',
    allowed: 'a branch, a tag or a commit of the model',
  });
}

function entryNotFound({ repository, revision }: Subject): WgqaError {
  return new WgqaError('NOT_FOUND', `${repository} lost a file of revision ${revision}`, {
    field: repository,
  });
}

/** The hub says the same of a private model and of none. */
function repositoryNotFound({ repository, endpoint, hasToken }: Subject): WgqaError {
  const cure = hasToken
    ? 'if it is private, HF_TOKEN or the token file needs a token that may read it'
    : 'if it is private, set HF_TOKEN to an access token that may read it';
  return new WgqaError(
    'NOT_FOUND',
    `${repository} is neither a directory here nor a model of ${endpoint}; ${cure}`,
    { field: repository },
  );
}

/** The last of several tries failed. */
export function unreachable(problem: PassingProblem, { repository }: Subject): WgqaError {
  return new WgqaError(
    'NETWORK',
    `${repository} could not be downloaded: ${problem.message}; check the network, HTTPS_PROXY and ` +
      'HF_ENDPOINT, and try again: what is there already is kept',
    { field: repository, cause: problem.cause ?? problem },
  );
}

/** A server that answers, but not as a hub does. */
export function notAHub(detail: string, { endpoint }: Subject, cause?: unknown): WgqaError {
  return new WgqaError(
    'INVALID_FILE',
    `${endpoint} does not answer as a hub does: ${detail}; check HF_ENDPOINT and proxies`,
    { field: 'HF_ENDPOINT', cause },
  );
}

export function notCached(detail: string, { repository, revision }: Subject): WgqaError {
  return new WgqaError(
    'NOT_FOUND',
    `${repository} at revision ${revision} is not in the cache (${detail}), and HF_HUB_OFFLINE or ` +
      `\`offline\` forbids to download it; with a network, run: wgqa pull ${repository}@${revision}`,
    { field: repository },
  );
}
