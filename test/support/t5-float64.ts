/**
 * T5 in float64, in plain loops: the independent reference of the tests. It shares nothing with the
 * native code, works row by row (so it knows no padding) and takes parameters by their Hugging Face
 * names, with or without merge weights. Follows arXiv 1910.10683 and 2407.10855, section 3.
 */

/** Fields of a Hugging Face T5 config.json that the computation depends on. */
export interface T5Config {
  readonly d_model: number;
  readonly d_kv: number;
  readonly num_heads: number;
  readonly num_layers: number;
  readonly num_decoder_layers?: number;
  readonly feed_forward_proj: string;
  readonly layer_norm_epsilon: number;
  readonly relative_attention_num_buckets: number;
  readonly relative_attention_max_distance: number;
  readonly tie_word_embeddings?: boolean;
  readonly scale_decoder_outputs?: boolean;
  /** K/V heads that merge weights reduce a projection to. */
  readonly num_key_value_heads?: number;
}

export interface Parameter {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export type Parameters = ReadonlyMap<string, Parameter>;

/** Row-major [rows, columns]. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** One source with its decoder inputs and, per decoder input, the label (-100: not counted). */
export interface Row {
  readonly source: readonly number[];
  readonly decoderInputs: readonly number[];
  readonly labels?: readonly number[];
}

export interface RowResult {
  /** [source tokens, d_model]. */
  readonly encoderStates: Matrix;
  /** [decoder inputs, vocabulary]. */
  readonly logits: Matrix;
}

/** Label of a position that does not count in the loss. */
const IGNORED_LABEL = -100;

// Each use of a global costs a look-up through the test's realm: too slow for inner loops.
const { abs, exp, floor, log, max, sqrt, tanh, PI } = Math;

/** Applied to both factors of every matrix product with a weight. */
export type Rounding = (factor: Matrix) => Matrix;

export class Float64T5 {
  readonly config: T5Config;
  readonly parameters: Parameters;
  readonly #round: Rounding | undefined;

  constructor(config: T5Config, parameters: Parameters, round?: Rounding) {
    this.config = config;
    this.parameters = parameters;
    this.#round = round;
  }

  forward(row: Row): RowResult {
    const encoderStates = this.encode(row.source);
    return { encoderStates, logits: this.decode(row.decoderInputs, encoderStates) };
  }

  /** Mean cross-entropy over the counted labels of all rows. */
  loss(rows: readonly Row[]): number {
    let sum = 0;
    let count = 0;
    for (const row of rows) {
      const { logits } = this.forward(row);
      for (const [position, label] of (row.labels ?? []).entries()) {
        if (label === IGNORED_LABEL) continue;
        sum -= logSoftmax(rowOf(logits, position))[label] ?? NaN;
        count += 1;
      }
    }
    return sum / count;
  }

  encode(tokens: readonly number[]): Matrix {
    let hidden = this.#embed(tokens);
    const bias = this.#relativeBias('encoder', tokens.length, true);
    for (let layer = 0; layer < this.config.num_layers; ++layer) {
      const block = `encoder.block.${layer}.layer`;
      hidden = this.#attend(`${block}.0`, 'SelfAttention', hidden, undefined, bias);
      hidden = this.#feedForward(`${block}.1`, hidden);
    }
    return this.#norm('encoder.final_layer_norm.weight', hidden);
  }

  decode(tokens: readonly number[], encoderStates: Matrix): Matrix {
    let hidden = this.#embed(tokens);
    const bias = this.#relativeBias('decoder', tokens.length, false);
    const layers = this.config.num_decoder_layers ?? this.config.num_layers;
    for (let layer = 0; layer < layers; ++layer) {
      const block = `decoder.block.${layer}.layer`;
      hidden = this.#attend(`${block}.0`, 'SelfAttention', hidden, undefined, bias);
      hidden = this.#attend(`${block}.1`, 'EncDecAttention', hidden, encoderStates, undefined);
      hidden = this.#feedForward(`${block}.2`, hidden);
    }
    return this.#vocabulary(this.#norm('decoder.final_layer_norm.weight', hidden));
  }

  #vocabulary(states: Matrix): Matrix {
    const { config } = this;
    const scaled = config.scale_decoder_outputs ?? config.tie_word_embeddings ?? true;
    const scale = scaled ? config.d_model ** -0.5 : 1;
    const name = this.parameters.has('lm_head.weight') ? 'lm_head.weight' : 'shared.weight';
    return this.#product(
      map(states, (value) => value * scale),
      this.#weight(name),
    );
  }

  #embed(tokens: readonly number[]): Matrix {
    const table = this.#weight('shared.weight');
    const hidden = zeros(tokens.length, table.columns);
    tokens.forEach((token, i) => {
      hidden.data.set(rowOf(table, token), i * table.columns);
    });
    return hidden;
  }

  /** Root mean square norm: no mean is subtracted, no bias added. */
  #norm(name: string, hidden: Matrix): Matrix {
    const weight = this.#parameter(name).data;
    const all = { first: 0, width: hidden.columns };
    const out = zeros(hidden.rows, hidden.columns);
    for (let i = 0; i < hidden.rows; ++i) {
      const meanSquare = dot(hidden, i, all, hidden, i, all) / hidden.columns;
      const scale = 1 / sqrt(meanSquare + this.config.layer_norm_epsilon);
      for (let j = 0; j < hidden.columns; ++j) {
        out.data[i * out.columns + j] = get(hidden, i, j) * scale * at(weight, j);
      }
    }
    return out;
  }

  /** Residual plus attention of `hidden` to itself or, if given, to `memory`. */
  #attend(
    layer: string,
    kind: 'SelfAttention' | 'EncDecAttention',
    hidden: Matrix,
    memory: Matrix | undefined,
    bias: Matrix[] | undefined,
  ): Matrix {
    const normed = this.#norm(`${layer}.layer_norm.weight`, hidden);
    const prefix = `${layer}.${kind}`;
    const source = memory ?? normed;
    const query = this.#product(normed, this.#weight(`${prefix}.q.weight`));
    const key = this.#product(source, this.#keyOrValueWeight(`${prefix}.k`));
    const value = this.#product(source, this.#keyOrValueWeight(`${prefix}.v`));
    const context = this.#softmaxContext(query, key, value, bias);
    return add(hidden, this.#product(context, this.#weight(`${prefix}.o.weight`)));
  }

  /** softmax(Q K^T + bias) V, head by head; T5 does not scale by 1/sqrt(d). */
  #softmaxContext(query: Matrix, key: Matrix, value: Matrix, bias: Matrix[] | undefined): Matrix {
    const { num_heads: heads, d_kv: width } = this.config;
    const perGroup = heads / (key.columns / width);
    const context = zeros(query.rows, heads * width);
    const scores = new Float64Array(key.rows);
    for (let head = 0; head < heads; ++head) {
      const own = { first: head * width, width };
      const shared = { first: floor(head / perGroup) * width, width };
      for (let i = 0; i < query.rows; ++i) {
        for (let j = 0; j < key.rows; ++j) {
          const added = bias === undefined ? 0 : get(bias[head] as Matrix, i, j);
          scores[j] = dot(query, i, own, key, j, shared) + added;
        }
        const logWeights = logSoftmax(scores);
        for (let j = 0; j < key.rows; ++j) {
          const weight = exp(at(logWeights, j));
          for (let c = 0; c < width; ++c) {
            const target = i * context.columns + own.first + c;
            context.data[target] =
              at(context.data, target) + weight * get(value, j, shared.first + c);
          }
        }
      }
    }
    return context;
  }

  #feedForward(layer: string, hidden: Matrix): Matrix {
    const normed = this.#norm(`${layer}.layer_norm.weight`, hidden);
    const [form = '', name = form] = this.config.feed_forward_proj.split('-');
    const activation = ACTIVATIONS.get(name);
    if (activation === undefined) throw new Error(`no activation ${name}`);
    const prefix = `${layer}.DenseReluDense`;
    const gated = form === 'gated';
    const first = this.#weight(`${prefix}.${gated ? 'wi_0' : 'wi'}.weight`);
    let inner = map(this.#product(normed, first), activation);
    if (gated) {
      const linear = this.#product(normed, this.#weight(`${prefix}.wi_1.weight`));
      inner = map(inner, (value, i) => value * at(linear.data, i));
    }
    return add(hidden, this.#product(inner, this.#weight(`${prefix}.wo.weight`)));
  }

  /** Per head a [length, length] bias; -Infinity where a decoder must not look. */
  #relativeBias(stack: 'encoder' | 'decoder', length: number, bidirectional: boolean): Matrix[] {
    const { config } = this;
    const table = this.#weight(
      `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`,
    );
    return Array.from({ length: config.num_heads }, (_, head) => {
      const bias = zeros(length, length);
      for (let i = 0; i < length; ++i) {
        for (let j = 0; j < length; ++j) {
          const visible = bidirectional || j <= i;
          const bucket = relativeBucket(config, j - i, bidirectional);
          bias.data[i * length + j] = visible ? get(table, bucket, head) : -Infinity;
        }
      }
      return bias;
    });
  }

  /** The projection itself or, where merge weights exist, its heads' weighted sum per group. */
  #keyOrValueWeight(name: string): Matrix {
    const heads = this.#weight(`${name}.weight`);
    const merge = this.parameters.get(`${name}.merge_weight`);
    return merge === undefined ? heads : mergeHeads(this.config, heads, merge);
  }

  #product(x: Matrix, weight: Matrix): Matrix {
    const round = this.#round;
    if (round === undefined) return multiplyTransposed(x, weight);
    return multiplyTransposed(round(x), round(weight));
  }

  #parameter(name: string): Parameter {
    const parameter = this.parameters.get(name);
    if (parameter === undefined) throw new Error(`no parameter ${name}`);
    return parameter;
  }

  #weight(name: string): Matrix {
    const { shape, data } = this.#parameter(name);
    const [rows = 0, columns = 0] = shape;
    return { rows, columns, data: data instanceof Float64Array ? data : Float64Array.from(data) };
  }
}

/** K_g = sum over the group's heads h of w_h * K_h; w broadcasts over rows or columns of K_h. */
export function mergeHeads(config: T5Config, heads: Matrix, merge: Parameter): Matrix {
  const { num_heads: count, d_kv: width, num_key_value_heads: groups = count } = config;
  const [, rowWeights = 1, columnWeights = 1] = merge.shape;
  const merged = zeros(groups * width, heads.columns);
  for (let head = 0; head < count; ++head) {
    const group = floor(head / (count / groups));
    for (let r = 0; r < width; ++r) {
      for (let c = 0; c < heads.columns; ++c) {
        const row = rowWeights === 1 ? 0 : r;
        const column = columnWeights === 1 ? 0 : c;
        const weight = at(merge.data, (head * rowWeights + row) * columnWeights + column);
        const target = (group * width + r) * heads.columns + c;
        merged.data[target] = at(merged.data, target) + weight * get(heads, head * width + r, c);
      }
    }
  }
  return merged;
}

/**
 * T5's bucket of a distance (key position - query position): half of the buckets hold one distance
 * each, the others grow geometrically up to the maximum. Compares powers instead of taking
 * logarithms, so that a distance at a boundary is never a matter of rounding.
 */
function relativeBucket(config: T5Config, distance: number, bidirectional: boolean): number {
  const total = config.relative_attention_num_buckets;
  const buckets = bidirectional ? total / 2 : total;
  const offset = bidirectional && distance > 0 ? buckets : 0;
  const magnitude = bidirectional ? abs(distance) : max(-distance, 0);
  const exact = floor(buckets / 2);
  if (magnitude < exact) return offset + magnitude;
  const steps = buckets - exact;
  const range = config.relative_attention_max_distance / exact;
  let step = 0;
  while (step < steps - 1 && (magnitude / exact) ** steps >= range ** (step + 1)) step += 1;
  return offset + exact + step;
}

const ACTIVATIONS: ReadonlyMap<string, (x: number) => number> = new Map([
  ['relu', (x) => max(x, 0)],
  ['gelu', (x) => 0.5 * x * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * x ** 3)))],
  ['silu', (x) => x / (1 + exp(-x))],
]);

export function logSoftmax(scores: Float64Array): Float64Array {
  let largest = -Infinity;
  for (let i = 0; i < scores.length; ++i) largest = max(largest, at(scores, i));
  let sum = 0;
  for (let i = 0; i < scores.length; ++i) sum += exp(at(scores, i) - largest);
  const shift = largest + log(sum);
  return scores.map((score) => score - shift);
}

export function rowOf(matrix: Matrix, row: number): Float64Array {
  return matrix.data.subarray(row * matrix.columns, (row + 1) * matrix.columns);
}

function zeros(rows: number, columns: number): Matrix {
  return { rows, columns, data: new Float64Array(rows * columns) };
}

function at(values: ArrayLike<number>, i: number): number {
  return values[i] as number;
}

function get(matrix: Matrix, row: number, column: number): number {
  return matrix.data[row * matrix.columns + column] as number;
}

function map(matrix: Matrix, f: (value: number, i: number) => number): Matrix {
  return { ...matrix, data: matrix.data.map(f) };
}

function add(a: Matrix, b: Matrix): Matrix {
  return map(a, (value, i) => value + at(b.data, i));
}

interface Columns {
  readonly first: number;
  readonly width: number;
}

/** Inner product of two rows' columns, equally many of both. */
function dot(
  a: Matrix,
  aRow: number,
  aColumns: Columns,
  b: Matrix,
  bRow: number,
  bColumns: Columns,
): number {
  const aStart = aRow * a.columns + aColumns.first;
  const bStart = bRow * b.columns + bColumns.first;
  let sum = 0;
  for (let k = 0; k < aColumns.width; ++k) {
    sum += at(a.data, aStart + k) * at(b.data, bStart + k);
  }
  return sum;
}

/** x [n, k] times the transpose of weight [m, k]. */
function multiplyTransposed(x: Matrix, weight: Matrix): Matrix {
  const out = zeros(x.rows, weight.rows);
  const all = { first: 0, width: x.columns };
  for (let i = 0; i < x.rows; ++i) {
    for (let j = 0; j < weight.rows; ++j) {
      out.data[i * weight.rows + j] = dot(x, i, all, weight, j, all);
    }
  }
  return out;
}
