/** Names of models on the hub, as people write and paste them. */
import { invalidArgument } from '../errors.ts';

export interface HubName {
  /** `org/name`. */
  readonly repository: string;
  /** A branch, a tag, or a commit; undefined where none was given. */
  readonly revision: string | undefined;
}

/** The hub's own limit of `org/name`. */
const MAX_REPOSITORY_LENGTH = 96;
const MAX_REVISION_LENGTH = 255;
const PART = '[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?';
const NAME = new RegExp(`^(${PART}/${PART})(?:@(.+))?$`, 's');
/** Pages of the hub, and the URLs that Python's client writes. */
const PREFIX = /^(?:https?:\/\/(?:www\.)?(?:huggingface\.co|hf\.co)\/|hf:\/\/(?:models\/)?)/;
const PAGE = /^([^/]+\/[^/@?#]+)(?:\/(?:tree|blob|resolve|raw)\/([^/?#]+)[^?#]*)?\/?(?:[?#].*)?$/s;

/**
 * Reads `org/name`, `org/name@revision`, `hf://…` and the address of a model's page; undefined for
 * what cannot be a name of the hub.
 * @throws WgqaError INVALID_ARGUMENT for a revision that no repository can have
 */
export function parseHubName(text: string): HubName | undefined {
  const match = NAME.exec(withoutAddress(text));
  const repository = match?.[1];
  if (repository === undefined || !isRepository(repository)) return undefined;
  return { repository, revision: match?.[2] === undefined ? undefined : checkRevision(match[2]) };
}

/** Whether `resolveModel` would look for it on the hub, unless there is a directory of that name. */
export function isHubName(value: unknown): value is string {
  return typeof value === 'string' && NAME.test(withoutAddress(value));
}

function withoutAddress(text: string): string {
  if (!PREFIX.test(text)) return text;
  const page = text.replace(PREFIX, '');
  const [, repository, revision] = PAGE.exec(page) ?? [];
  if (repository === undefined) return page;
  return revision === undefined ? repository : `${repository}@${decodeURIComponent(revision)}`;
}

function isRepository(text: string): boolean {
  return (
    text.length <= MAX_REPOSITORY_LENGTH &&
    !text.includes('--') &&
    !text.includes('..') &&
    !text.endsWith('.git')
  );
}

/**
 * What git allows in the name of a branch or a tag, and no way out of the cache, where a file has
 * this name.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function checkRevision(revision: string): string {
  const parts = revision.split('/');
  const wellFormed =
    revision.length <= MAX_REVISION_LENGTH &&
    /^[A-Za-z0-9_.+/#-]+$/.test(revision) &&
    parts.every((part) => part !== '' && !part.startsWith('.') && !part.includes('..'));
  if (wellFormed) return revision;
  throw invalidArgument('revision', 'the name of a branch or a tag, or a commit', revision);
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
