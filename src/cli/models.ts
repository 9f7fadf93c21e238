/** Names of models on the command line: every command gets a directory, whatever was given. */
import type { Command } from 'commander';
import { isHubName } from '../hub/index.ts';
import { resolveModel } from '../index.ts';
import { formatBytes } from '../report/format.ts';
import type { CliContext, OutputStream } from './context.ts';

/** Options whose value is a model, of any command. */
const MODEL_OPTIONS = ['teacher', 'model'];
const LINE_MILLISECONDS = 10_000;
const REDRAW_MILLISECONDS = 100;

/**
 * Replaces models of the hub among a command's argument `model` and options that take one by
 * directories, downloaded as far as they must be. Paths are left to the command, `pull` to itself.
 */
export async function resolveModelArguments(command: Command, context: CliContext): Promise<void> {
  if (command.name() === 'pull') return;
  const options: Readonly<Record<string, unknown>> = command.opts();
  const json = options['json'] === true;
  for (const [i, argument] of command.registeredArguments.entries()) {
    const value: unknown = command.processedArgs[i];
    if (argument.name() !== 'model' || !isHubName(value)) continue;
    command.processedArgs[i] = await modelDirectory(value, context, { json });
  }
  for (const name of MODEL_OPTIONS) {
    const value = options[name];
    if (!isHubName(value)) continue;
    command.setOptionValue(name, await modelDirectory(value, context, { json }));
  }
}

export interface ModelDirectoryOptions {
  /** Show no progress. */
  readonly json: boolean;
  readonly revision?: string;
  readonly cacheDir?: string;
}

/** The directory of a model; what is missing of it is downloaded, and the bytes are shown. */
export async function modelDirectory(
  name: string,
  { signal, stderr }: CliContext,
  { json, ...options }: ModelDirectoryOptions,
): Promise<string> {
  const progress = json ? undefined : new DownloadProgress(name, stderr);
  try {
    return await resolveModel(name, {
      ...options,
      signal,
      ...(progress && {
        onProgress: (done, total) => {
          progress.update(done, total);
        },
      }),
    });
  } finally {
    progress?.finish();
  }
}

/** A line redrawn in place on a terminal, one at intervals elsewhere. */
class DownloadProgress {
  readonly #name: string;
  readonly #stream: OutputStream;
  #start: { readonly time: number; readonly bytes: number } | undefined;
  #writtenAt = -Infinity;
  #line = '';
  #written = '';

  constructor(name: string, stream: OutputStream) {
    this.#name = name;
    this.#stream = stream;
  }

  update(done: number, total: number): void {
    const now = performance.now();
    // What an earlier download left is not this one's speed.
    this.#start ??= { time: now, bytes: done };
    const seconds = (now - this.#start.time) / 1000;
    const speed = seconds > 0 ? (done - this.#start.bytes) / seconds : 0;
    this.#line =
      `${this.#name}: ${formatBytes(done)} of ${formatBytes(total)}` +
      (speed > 0 ? `, ${formatBytes(speed)}/s` : '');
    const interval = this.#stream.isTTY ? REDRAW_MILLISECONDS : LINE_MILLISECONDS;
    if (now - this.#writtenAt < interval) return;
    this.#writtenAt = now;
    this.#write();
  }

  finish(): void {
    if (this.#line !== this.#written) this.#write();
    if (this.#stream.isTTY && this.#line !== '') this.#stream.write('\n');
  }

  #write(): void {
    this.#written = this.#line;
    const width = Math.max(20, (this.#stream.columns ?? 80) - 1);
    this.#stream.write(
      this.#stream.isTTY ? `\r\u001b[K${this.#line.slice(0, width)}` : `${this.#line}\n`,
    );
  }
}
