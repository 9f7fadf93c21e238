/** Text that ends before the first of some strings, found while the text still grows. */

export interface StopResult {
  /** Text that is final and precedes any stop string. */
  readonly text: string;
  readonly stopped: boolean;
  /** The string that ended the text. */
  readonly stopString?: string;
}

/** A place in the strings: the longest end of the text so far that one of them begins with. */
interface Node {
  readonly next: Map<number, Node>;
  readonly depth: number;
  /** Of the longest proper end of this one's text. */
  fallback: Node | undefined;
  /** The longest string that ends here. */
  ends: string | undefined;
}

/** Aho and Corasick 1975: the work of a character does not depend on how many strings there are. */
class Automaton {
  readonly root: Node = { next: new Map(), depth: 0, fallback: undefined, ends: undefined };

  constructor(strings: readonly string[]) {
    for (const string of strings) this.#add(string);
    this.#link();
  }

  step(from: Node, code: number): Node {
    for (let node: Node | undefined = from; node !== undefined; node = node.fallback) {
      const next = node.next.get(code);
      if (next !== undefined) return next;
    }
    return this.root;
  }

  #add(string: string): void {
    let node = this.root;
    for (let i = 0; i < string.length; ++i) {
      const code = string.charCodeAt(i);
      let next = node.next.get(code);
      if (next === undefined) {
        next = { next: new Map(), depth: node.depth + 1, fallback: this.root, ends: undefined };
        node.next.set(code, next);
      }
      node = next;
    }
    node.ends = string;
  }

  /** By breadth: a fallback is shorter, so that it is linked before. */
  #link(): void {
    const order = [this.root];
    for (const node of order) {
      for (const [code, next] of node.next) {
        if (node.fallback !== undefined) next.fallback = this.step(node.fallback, code);
        next.ends ??= next.fallback?.ends;
        order.push(next);
      }
    }
  }
}

/** Sequences of one request share their strings. */
const automata = new WeakMap<readonly string[], Automaton>();

function automatonOf(stops: readonly string[]): Automaton {
  const known = automata.get(stops);
  if (known !== undefined) return known;
  const made = new Automaton(stops);
  automata.set(stops, made);
  return made;
}

export class StopStrings {
  readonly #automaton: Automaton;
  #node: Node;
  /** Text that may be the beginning of a stop string. */
  #held = '';

  constructor(stops: readonly string[]) {
    this.#automaton = automatonOf(stops);
    this.#node = this.#automaton.root;
  }

  push(text: string): StopResult {
    const pending = this.#held + text;
    const found = this.#firstIn(pending, this.#held.length);
    if (found !== undefined) {
      this.#held = '';
      this.#node = this.#automaton.root;
      return { text: pending.slice(0, found.begin), stopped: true, stopString: found.string };
    }
    const final = pending.length - this.#node.depth;
    this.#held = pending.slice(final);
    return { text: pending.slice(0, final), stopped: false };
  }

  get isHolding(): boolean {
    return this.#held !== '';
  }

  /** What was held back, now that no more text follows. */
  end(): string {
    const text = this.#held;
    this.#held = '';
    this.#node = this.#automaton.root;
    return text;
  }

  /** The occurrence that begins first in `text`, which is new from `from` on. */
  #firstIn(text: string, from: number): { begin: number; string: string } | undefined {
    let first: { begin: number; string: string } | undefined;
    for (let i = from; i < text.length; ++i) {
      this.#node = this.#automaton.step(this.#node, text.charCodeAt(i));
      const string = this.#node.ends;
      if (string === undefined) continue;
      const begin = i + 1 - string.length;
      if (first === undefined || begin < first.begin) first = { begin, string };
    }
    return first;
  }
}
