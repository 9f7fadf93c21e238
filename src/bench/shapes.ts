/** Shapes of published T5 v1.0 checkpoints, as `config.json` has them. */

const SHARED = { is_encoder_decoder: true, vocab_size: 32_128, d_kv: 64, dropout_rate: 0.1 };

export const SHAPES = {
  't5-small': { ...SHARED, d_model: 512, d_ff: 2048, num_layers: 6, num_heads: 8 },
  't5-base': { ...SHARED, d_model: 768, d_ff: 3072, num_layers: 12, num_heads: 12 },
} as const;

export type ShapeName = keyof typeof SHAPES;
export type Shape = (typeof SHAPES)[ShapeName];

export const SHAPE_NAMES = Object.keys(SHAPES) as ShapeName[];

/** The decoder of a shape behind an encoder of one layer: for what only decoding is measured of. */
export function decoderOf(shape: Shape): Readonly<Record<string, unknown>> {
  return { ...shape, num_layers: 1, num_decoder_layers: shape.num_layers };
}

/** As published checkpoints are called. */
export function shapeTitle(name: ShapeName): string {
  return name.replace(/^t/, 'T');
}
