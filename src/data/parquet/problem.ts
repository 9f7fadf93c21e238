import { WgqaError } from '../../errors.ts';

/** What is wrong with a Parquet file, before it is known where: {@link located} adds that. */
export class ParquetProblem extends Error {
  readonly code: 'INVALID_FILE' | 'UNSUPPORTED';

  constructor(code: 'INVALID_FILE' | 'UNSUPPORTED', message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The bytes end within a value. */
export class EndOfBytes extends ParquetProblem {
  constructor() {
    super('INVALID_FILE', 'the data end within a value');
  }
}

export function malformed(problem: string, cause?: unknown): ParquetProblem {
  return new ParquetProblem('INVALID_FILE', problem, cause);
}

export function unsupported(problem: string): ParquetProblem {
  return new ParquetProblem('UNSUPPORTED', problem);
}

/** A problem as an error whose `field` is the file, or "file:row"; anything else as it is. */
export function located(error: unknown, field: string): unknown {
  if (!(error instanceof ParquetProblem)) return error;
  const { code, message, cause } = error;
  return new WgqaError(code, `${field}: ${message}`, { field, cause });
}
