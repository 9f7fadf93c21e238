/** Warnings on `process`: what a checkpoint holds beyond what is used. */
const MAX_NAMES = 20;

/** Emits a warning; `code` is stable and meant for programs. */
export function warn(code: string, message: string): void {
  process.emitWarning(message, { type: 'WgqaWarning', code });
}

/** Names from a file for a message: quoted, and not more than a few. */
export function nameList(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES).map((name) => JSON.stringify(name.slice(0, 200)));
  const more = names.length - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
