/** Runs a command line and turns whatever happens into an exit code. */
import { CommanderError } from 'commander';
import { WgqaError } from '../index.ts';
import { OutputClosedError, type CliContext } from './context.ts';
import { createProgram } from './program.ts';

export const EXIT_CODES = { done: 0, failed: 1, usage: 2 } as const;
export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];

/**
 * Runs `args` (without the program's name). Errors become one line on standard error, with `--json`
 * the object `{"error": {code, message, field, allowed}}`.
 */
export async function run(args: readonly string[], context: CliContext): Promise<ExitCode> {
  const json = args.includes('--json');
  try {
    await createProgram(context, { json }).parseAsync(args, { from: 'user' });
    return EXIT_CODES.done;
  } catch (error) {
    if (context.signal.reason instanceof OutputClosedError) return EXIT_CODES.done;
    if (error instanceof CommanderError) return reportUsage(error, json, context);
    const known = toWgqaError(error);
    context.stderr.write(json ? toJson(known) : `wgqa: ${describe(known)}\n`);
    return EXIT_CODES.failed;
  }
}

/** Help that was asked for is no error; commander has written the message of what is one. */
function reportUsage(error: CommanderError, json: boolean, { stderr }: CliContext): ExitCode {
  if (error.exitCode === 0) return EXIT_CODES.done;
  if (json) stderr.write(toJson(new WgqaError('INVALID_ARGUMENT', error.message)));
  return EXIT_CODES.usage;
}

/** What the package did not throw itself comes from the operating system, or is a bug. */
function toWgqaError(error: unknown): WgqaError {
  if (error instanceof WgqaError) return error;
  const { code, message, path } = error as Partial<NodeJS.ErrnoException>;
  const details = { cause: error, field: path };
  if (code === 'ENOENT') return new WgqaError('NOT_FOUND', `${message}`, details);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new WgqaError('NO_SPACE', `${message}`, details);
  }
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) {
    return new WgqaError('IO', `${message}`, details);
  }
  return new WgqaError('INTERNAL', String((error as Error | undefined)?.stack ?? error), details);
}

/** `message [CODE, field: …, allowed: …]`, without what the message says already. */
function describe({ code, message, field, allowed }: WgqaError): string {
  const details = [code as string];
  if (field !== undefined && !message.includes(field)) details.push(`field: ${field}`);
  if (allowed !== undefined && !message.includes(allowed)) details.push(`allowed: ${allowed}`);
  return `${message} [${details.join(', ')}]`;
}

function toJson({ code, message, field, allowed }: WgqaError): string {
  return `${JSON.stringify({ error: { code, message, field, allowed } })}\n`;
}
