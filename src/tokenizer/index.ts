export {
  findTokenizer,
  loadTokenizer,
  Tokenizer,
  type DecodeOptions,
  type EncodeOptions,
} from './tokenizer.ts';
export { type TextStream } from './text-stream.ts';
export { type TokenPieces } from './token-pieces.ts';
