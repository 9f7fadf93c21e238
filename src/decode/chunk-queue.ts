/** Values that are pushed by one side and awaited, in order, by the other. */
export class ChunkQueue<T> implements AsyncIterable<T> {
  /** Told `true` when `capacity` values lie unread, and `false` when the reader has caught up. */
  onFull: ((isFull: boolean) => void) | undefined;
  readonly #capacity: number;
  #values: T[] = [];
  #read = 0;
  #isFull = false;
  #wake: (() => void) | undefined;
  #ended = false;
  #error: { readonly value: unknown } | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Never refuses: who pushes is asked to pause, and may have a few more under way. */
  push(value: T): void {
    this.#values.push(value);
    if (this.#unread >= this.#capacity) this.#setFull(true);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** Makes the reader throw once it has read what was pushed. */
  fail(error: unknown): void {
    this.#error = { value: error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.#unread > 0) yield this.#shift();
      if (this.#error !== undefined) throw this.#error.value;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  get #unread(): number {
    return this.#values.length - this.#read;
  }

  #shift(): T {
    const value = this.#values[this.#read] as T;
    this.#read += 1;
    if (2 * this.#read >= this.#values.length) {
      this.#values = this.#values.slice(this.#read);
      this.#read = 0;
    }
    if (2 * this.#unread <= this.#capacity) this.#setFull(false);
    return value;
  }

  #setFull(isFull: boolean): void {
    if (this.#isFull === isFull) return;
    this.#isFull = isFull;
    this.onFull?.(isFull);
  }
}
