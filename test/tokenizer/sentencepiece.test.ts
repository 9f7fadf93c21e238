import { expect, test } from '@jest/globals';
import { toHuggingFaceFiles } from '../../scripts/tokenizer/huggingface.ts';
import { readSentencePiece } from '../../src/tokenizer/sources/sentencepiece-file.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { directoryWith } from './fixtures.ts';

/** A length-delimited protocol buffer field of less than 128 bytes. */
const field = (number: number, content: Uint8Array | string) => {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
};

const float = (number: number, value: number) => {
  const bytes = Buffer.alloc(5, number * 8 + 5);
  bytes.writeFloatLE(value, 1);
  return bytes;
};

/** ModelProto: pieces (text, score, and a type, which is not needed), then the normaliser. */
function modelFile(pieces: [string, number][], charsMap: Uint8Array): Uint8Array {
  const type = Buffer.from([3 * 8, 1]);
  return Buffer.concat([
    ...pieces.map(([text, score]) =>
      field(1, Buffer.concat([field(1, text), float(2, score), type])),
    ),
    field(3, Buffer.concat([field(1, 'nmt_nfkc'), field(2, charsMap)])),
  ]);
}

const PIECES: [string, number][] = [
  ['<pad>', 0],
  ['</s>', 0],
  ['<unk>', 0],
  ['▁', -2],
  ['▁é', -1.5],
  ['b', -2.25],
];

test('pieces and character map come out of the file as they went in', () => {
  const model = readSentencePiece(modelFile(PIECES, Uint8Array.of(1, 2, 255)), 'x.model');
  expect(model.pieces).toEqual(PIECES.map(([text, score]) => ({ text, score, type: 1 })));
  expect([...model.charsMap]).toEqual([1, 2, 255]);
});

test('the written files load as a T5 tokenizer', async () => {
  const model = readSentencePiece(modelFile(PIECES, new Uint8Array()), 'x.model');
  const tokenizer = await loadTokenizer(await directoryWith(toHuggingFaceFiles(model, 512)));
  expect([...tokenizer.encode('  éb  b ')]).toEqual([4, 5, 3, 5, 1]);
  expect(tokenizer.decode([4, 5, 3, 5, 1])).toBe('éb b');
  expect(tokenizer).toMatchObject({ padTokenId: 0, eosTokenId: 1, unkTokenId: 2 });
});

test('a vocabulary without the special tokens is refused', () => {
  const model = { pieces: [{ text: 'a', score: 0, type: 1 }], charsMap: new Uint8Array() };
  expect(() => toHuggingFaceFiles(model, 512)).toThrow('lacks <pad>');
});

test.each([
  ['nothing', new Uint8Array(), 'holds no sentence pieces'],
  ['a file cut short', modelFile(PIECES, Uint8Array.of(1)).subarray(0, 20), 'is no model file'],
  ['a length without end', Uint8Array.of(0x0a, 0xff), 'is no model file'],
  ['a score that is no number', modelFile([['a', NaN]], new Uint8Array()), 'piece 0 has a score'],
])('%s is refused', (_, bytes, message) => {
  expect(() => readSentencePiece(bytes, 'x.model')).toThrow(
    expect.objectContaining({ code: 'INVALID_FILE', message: expect.stringContaining(message) }),
  );
});
