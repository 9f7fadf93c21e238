/** Runs a command line and turns whatever happens into an exit code. */
import { CommanderError, type Command } from 'commander';
import { WgqaError } from '../index.ts';
import { InterruptedError, OutputClosedError, type CliContext } from './context.ts';
import { inFlags } from './flags.ts';
import { createProgram } from './program.ts';
import { visible, visibleJson } from './visible.ts';

export const EXIT_CODES = {
  done: 0,
  failed: 1,
  usage: 2,
  interrupted: 130,
  terminated: 143,
} as const;
export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];

/**
 * Runs `args` (without the program's name). Errors become one line on standard error, with `--json`
 * the object `{"error": {code, message, field, allowed}}`.
 */
export async function run(args: readonly string[], context: CliContext): Promise<ExitCode> {
  const json = isJson(args);
  let command: Command | undefined;
  try {
    const program = createProgram(context, { json });
    program.hook('preAction', (_, running) => {
      command = running;
    });
    await program.parseAsync(args, { from: 'user' });
    return EXIT_CODES.done;
  } catch (error) {
    const { reason } = context.signal as { readonly reason: unknown };
    if (reason instanceof OutputClosedError) return EXIT_CODES.done;
    if (error instanceof CommanderError) return reportUsage(error, json, context);
    if (reason instanceof InterruptedError && isAbort(error)) {
      reportError(new WgqaError('ABORTED', reason.message), args, context);
      return reason.exitCode;
    }
    // The abort's reason was told when it happened.
    if (context.signal.aborted && isAbort(error) && isSystemError(reason)) return EXIT_CODES.failed;
    const known = inFlags(toWgqaError(error), command);
    reportError(known.error, args, context);
    return known.isUsage ? EXIT_CODES.usage : EXIT_CODES.failed;
  }
}

/** Writes the line, or with `--json` the object, of an error. */
export function reportError(error: unknown, args: readonly string[], { stderr }: CliContext): void {
  const known = toWgqaError(error);
  stderr.write(isJson(args) ? toJson(known) : `wgqa: ${visible(describe(known))}\n`);
}

function isJson(args: readonly string[]): boolean {
  return args.includes('--json');
}

function isAbort(error: unknown): boolean {
  const { name, code } = error as { readonly name?: string; readonly code?: string };
  return code === 'ABORTED' || name === 'AbortError' || error instanceof InterruptedError;
}

function isSystemError(error: unknown): boolean {
  const { code } = error as Partial<NodeJS.ErrnoException>;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code);
}

/** Help that was asked for is no error; commander has written the message of what is one. */
function reportUsage(error: CommanderError, json: boolean, { stderr }: CliContext): ExitCode {
  if (error.exitCode === 0) return EXIT_CODES.done;
  const message = error.message.replace(/^error: /, '');
  if (json) stderr.write(toJson(new WgqaError('INVALID_ARGUMENT', message)));
  return EXIT_CODES.usage;
}

/** What the package did not throw itself comes from the operating system, or is a bug. */
function toWgqaError(error: unknown): WgqaError {
  if (error instanceof WgqaError) return error;
  const { code, message, path = 'a file' } = error as Partial<NodeJS.ErrnoException>;
  const details = { cause: error, field: path };
  if (!isSystemError(error)) {
    // One line: its stack is of no use to who runs the program.
    const problem = message ?? String(error);
    return new WgqaError('INTERNAL', problem.replaceAll(/\s*\n\s*/g, ' '), { cause: error });
  }
  if (code === 'ENOENT') return new WgqaError('NOT_FOUND', `${path} does not exist`, details);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const problem = `${path} cannot be written: the disk is full`;
    return new WgqaError('NO_SPACE', problem, details);
  }
  return new WgqaError('IO', `${path} cannot be used (${code})`, details);
}

/** `message [CODE, field: …, allowed: …]`, without what the message says already. */
function describe({ code, message, field, allowed }: WgqaError): string {
  const details = [code as string];
  if (field !== undefined && !message.includes(field)) details.push(`field: ${field}`);
  if (allowed !== undefined && !message.includes(allowed)) details.push(`allowed: ${allowed}`);
  return `${message} [${details.join(', ')}]`;
}

function toJson({ code, message, field, allowed }: WgqaError): string {
  return `${visibleJson({ error: { code, message, field, allowed } })}\n`;
}
