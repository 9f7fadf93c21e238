/** Sets of items that share a key, directly or through others (union-find with path halving). */
export class Families {
  readonly #parent: number[];
  readonly #firstWithKey = new Map<string, number>();

  constructor(size: number) {
    this.#parent = Array.from({ length: size }, (_, index) => index);
  }

  /** Puts `item` into the family of every earlier item that was added with this key. */
  addKey(item: number, key: string): void {
    const first = this.#firstWithKey.get(key);
    if (first === undefined) this.#firstWithKey.set(key, item);
    else this.#parent[this.#root(item)] = this.#root(first);
  }

  /** The families, each a list of items in ascending order, in order of their first item. */
  list(): number[][] {
    const byRoot = new Map<number, number[]>();
    this.#parent.forEach((_, item) => {
      const root = this.#root(item);
      const members = byRoot.get(root);
      if (members) members.push(item);
      else byRoot.set(root, [item]);
    });
    return [...byRoot.values()];
  }

  #root(item: number): number {
    let node = item;
    for (;;) {
      const parent = this.#parent[node] ?? node;
      if (parent === node) return node;
      const grandparent = this.#parent[parent] ?? parent;
      this.#parent[node] = grandparent;
      node = grandparent;
    }
  }
}
