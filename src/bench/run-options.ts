/** How a benchmark is to be run. */
export interface RunOptions {
  /** Fewer repetitions and cases, smaller models: minutes in place of a quarter of an hour. */
  readonly quick: boolean;
  /** What is being done, for whoever waits. */
  readonly onProgress: (text: string) => void;
  /** Stops between two measurements. */
  readonly signal?: AbortSignal;
}
