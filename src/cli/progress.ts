import { invalidArgument } from '../errors.ts';
import {
  NO_VALUE,
  formatBytes,
  formatCount,
  formatDuration,
  formatInteger,
} from '../report/format.ts';

/** What a long operation has done so far. */
export interface ProgressState {
  /** Steps done, of `total`. */
  readonly step: number;
  /** Tokens processed since the reporter was created. */
  readonly tokens?: number;
  /** Training loss to show. */
  readonly loss?: number;
  /** Distance from the teacher, of a distilled run. */
  readonly distillationLoss?: number | undefined;
  /** Shown instead of the reporter's label: which part of the operation runs. */
  readonly label?: string;
}

/** The part of a `tty.WriteStream` that is used. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressOptions {
  readonly label: string;
  /** Steps of the whole operation. */
  readonly total: number;
  /** What is counted. Default 'steps'. */
  readonly unit?: 'steps' | 'bytes';
  /** Steps that were done before, by a run that is being resumed. Default 0. */
  readonly initialStep?: number;
  /** Default `process.stderr`, so that results on standard output stay clean. */
  readonly stream?: ProgressStream;
  /** Write nothing: the output is for programs. Default false. */
  readonly json?: boolean;
  /** Time between lines where the stream is not a terminal, in milliseconds. Default 10,000. */
  readonly intervalMilliseconds?: number;
  /** Milliseconds on a steady clock. Default `performance.now`. */
  readonly now?: () => number;
}

export interface Progress {
  /** Reports the state after a step; cheap enough to call on each. */
  update(state: ProgressState): void;
  /** Writes a line of its own, above the bar on a terminal. */
  log(line: string): void;
  /** Writes the last state and ends the line. Further calls do nothing. */
  finish(): void;
}

/** What a line shows. */
export interface ProgressView {
  readonly label: string;
  readonly step: number;
  readonly total: number;
  readonly unit?: 'steps' | 'bytes';
  readonly loss: number | undefined;
  readonly distillationLoss?: number | undefined;
  readonly tokensPerSecond: number | undefined;
  readonly elapsedMilliseconds: number;
  readonly remainingMilliseconds: number | undefined;
}

const REDRAW_MILLISECONDS = 100;
const BAR_WIDTH = 24;
/** Speed is that of the last half minute: batches differ in length, and machines in load. */
const WINDOW_MILLISECONDS = 30_000;
const ERASE_LINE = '\r\u001b[K';

/**
 * Reports on a long operation: one line redrawn in place on a terminal, a line every few seconds
 * elsewhere, nothing where the output is JSON.
 *
 * @throws WgqaError `INVALID_ARGUMENT` unless `total` is a positive integer.
 */
export function createProgress(options: ProgressOptions): Progress {
  if (!Number.isInteger(options.total) || options.total < 1) {
    throw invalidArgument('total', 'a positive integer', options.total);
  }
  if (options.json === true) return SILENT;
  const stream = options.stream ?? process.stderr;
  return stream.isTTY === true ? liveProgress(options, stream) : plainProgress(options, stream);
}

const SILENT: Progress = {
  update: () => undefined,
  log: () => undefined,
  finish: () => undefined,
};

/** One line, redrawn in place at most ten times a second. */
function liveProgress(options: ProgressOptions, stream: ProgressStream): Progress {
  const meter = new Meter(options);
  let drawnAt = -Infinity;
  let finished = false;
  const draw = (): void => {
    const width = Math.max(20, (stream.columns ?? 80) - 1);
    stream.write(ERASE_LINE + formatProgressLine(meter.view(), width));
    drawnAt = meter.now();
  };
  return {
    update(state) {
      if (finished) return;
      meter.record(state);
      if (meter.now() - drawnAt >= REDRAW_MILLISECONDS) draw();
    },
    log(line) {
      stream.write(`${finished ? '' : ERASE_LINE}${line}\n`);
      if (!finished) draw();
    },
    finish() {
      if (finished) return;
      draw();
      stream.write('\n');
      finished = true;
    },
  };
}

/** A line at intervals, for logs. */
function plainProgress(options: ProgressOptions, stream: ProgressStream): Progress {
  const meter = new Meter(options);
  const interval = options.intervalMilliseconds ?? 10_000;
  let writtenAt = meter.now();
  let writtenStep: number | undefined;
  let finished = false;
  const write = (): void => {
    const view = meter.view();
    if (view.step === writtenStep) return;
    stream.write(`${formatPlainLine(view)}\n`);
    writtenAt = meter.now();
    writtenStep = view.step;
  };
  return {
    update(state) {
      if (finished) return;
      meter.record(state);
      if (meter.now() - writtenAt >= interval) write();
    },
    log(line) {
      stream.write(`${line}\n`);
    },
    finish() {
      if (finished) return;
      write();
      finished = true;
    },
  };
}

interface Sample {
  readonly time: number;
  readonly step: number;
  readonly tokens: number | undefined;
}

/** Turns states into speed and time left. */
class Meter {
  readonly now: () => number;
  readonly #options: ProgressOptions;
  readonly #start: Sample;
  #state: ProgressState;
  /** Within the window, oldest first; never empty. */
  #samples: Sample[];

  constructor(options: ProgressOptions) {
    this.now = options.now ?? (() => performance.now());
    this.#options = options;
    this.#state = { step: options.initialStep ?? 0 };
    this.#start = { time: this.now(), step: this.#state.step, tokens: 0 };
    this.#samples = [this.#start];
  }

  record(state: ProgressState): void {
    const time = this.now();
    this.#state = state;
    this.#samples.push({ time, step: state.step, tokens: state.tokens });
    while (this.#samples.length > 2 && time - (this.#samples[0]?.time ?? 0) > WINDOW_MILLISECONDS) {
      this.#samples.shift();
    }
  }

  view(): ProgressView {
    const { total, unit = 'steps' } = this.#options;
    const { step, loss, distillationLoss, label = this.#options.label } = this.#state;
    const first = this.#samples[0] ?? this.#start;
    const last = this.#samples.at(-1) ?? first;
    const milliseconds = last.time - first.time;
    const perStep = last.step > first.step ? milliseconds / (last.step - first.step) : undefined;
    return {
      label,
      step,
      total,
      unit,
      loss,
      distillationLoss,
      tokensPerSecond: rate(first.tokens, last.tokens, milliseconds),
      elapsedMilliseconds: this.now() - this.#start.time,
      remainingMilliseconds:
        perStep === undefined ? undefined : Math.max(0, total - step) * perStep,
    };
  }
}

function rate(
  before: number | undefined,
  after: number | undefined,
  milliseconds: number,
): number | undefined {
  if (before === undefined || after === undefined || milliseconds <= 0) return undefined;
  return ((after - before) * 1000) / milliseconds;
}

/** `████████░░░░`, filled in proportion; the fraction is clamped to 0..1. */
export function formatBar(fraction: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

/**
 * The line for a terminal, at most `width` characters: what does not fit is left out, elapsed time
 * first, then the percentage, the bar and the speed.
 */
export function formatProgressLine(view: ProgressView, width: number): string {
  const fraction = view.step / view.total;
  const parts = [
    { text: view.label, keep: 7 },
    { text: formatBar(fraction, BAR_WIDTH), keep: 2 },
    { text: formatSteps(view), keep: 6 },
    { text: `${String(Math.floor(fraction * 100))}%`, keep: 1 },
    { text: formatLoss('loss', view.loss), keep: 5 },
    { text: formatLoss('distillation', view.distillationLoss), keep: 3 },
    { text: formatSpeed(view.tokensPerSecond), keep: 3 },
    { text: `${formatDuration(view.elapsedMilliseconds)} elapsed`, keep: 0 },
    { text: formatRemaining(view.remainingMilliseconds), keep: 4 },
  ].filter((part) => part.text !== '');
  let line = parts.map((part) => part.text).join('  ');
  for (let least = 0; line.length > width && least < 6; least += 1) {
    line = parts
      .filter((part) => part.keep > least)
      .map((part) => part.text)
      .join('  ');
  }
  return line.slice(0, width);
}

/** For a log: `label: step 20/400, loss 2.3140, 9.20k tokens/s, 5.0s elapsed, 1:35 left`. */
export function formatPlainLine(view: ProgressView): string {
  const parts = [
    view.unit === 'bytes' ? formatSteps(view) : `step ${formatSteps(view)}`,
    formatLoss('loss', view.loss),
    formatLoss('distillation', view.distillationLoss),
    formatSpeed(view.tokensPerSecond),
    `${formatDuration(view.elapsedMilliseconds)} elapsed`,
    formatRemaining(view.remainingMilliseconds),
  ];
  return `${view.label}: ${parts.filter((part) => part !== '').join(', ')}`;
}

function formatSteps({ step, total, unit }: ProgressView): string {
  if (unit === 'bytes') return `${formatBytes(step)} of ${formatBytes(total)}`;
  return `${formatInteger(step)}/${formatInteger(total)}`;
}

function formatLoss(name: string, loss: number | undefined): string {
  if (loss === undefined) return '';
  return `${name} ${Number.isFinite(loss) ? loss.toFixed(4) : NO_VALUE}`;
}

function formatSpeed(tokensPerSecond: number | undefined): string {
  return tokensPerSecond === undefined ? '' : `${formatCount(tokensPerSecond)} tokens/s`;
}

function formatRemaining(milliseconds: number | undefined): string {
  return milliseconds === undefined || milliseconds === 0
    ? ''
    : `${formatDuration(milliseconds)} left`;
}
