/** PyTorch files that ask for more than tensors, or lie about where they are: refused, nothing is run. */
import { existsSync, readFileSync } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readPytorchFile } from '../../src/checkpoint/pytorch/file.ts';
import { loadModel } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';

const newDirectory = useTemporaryDirectories();
const ROOT = path.join(import.meta.dirname, '../fixtures/golden-files');
const ZIP = readFileSync(path.join(ROOT, 'pytorch-bin/model/pytorch_model.bin'));
const LEGACY = readFileSync(path.join(ROOT, 'pytorch-bin-legacy/model/pytorch_model.bin'));

async function fileOf(bytes: Uint8Array): Promise<string> {
  const file = path.join(newDirectory(), 'pytorch_model.bin');
  await writeFile(file, bytes);
  return file;
}

/** The first occurrence of a piece replaced; the old format may change its length. */
function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const at = bytes.indexOf(from, 0, 'latin1');
  expect(at).toBeGreaterThanOrEqual(0);
  const after = bytes.subarray(at + from.length);
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(to, 'latin1'), after]);
}

function withUint32(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt32LE(value, at);
  return copy;
}

const CENTRAL = ZIP.indexOf('PK\x01\x02', 0, 'latin1');
const END64 = ZIP.lastIndexOf('PK\x06\x06', undefined, 'latin1');

const ATTACKS: Record<string, readonly [Buffer, RegExp]> = {
  'an empty file': [Buffer.alloc(0), /ends too early/],
  'a text': [Buffer.from('x'), /0x78/],
  'a call of the shell': [
    replaced(LEGACY, 'collections\nOrderedDict', 'posix\nsystem'),
    /asks to call "posix\.system", which is not run/,
  ],
  'a call of eval in the place of a tensor': [
    replaced(LEGACY, 'torch._utils\n_rebuild_tensor_v2', 'builtins\neval'),
    /"builtins\.eval"/,
  ],
  'a call in the zip format': [
    replaced(ZIP, 'collections\nOrderedDict', 'posix\nsystem_aaaaaaaaaa'),
    /which is not run/,
  ],
  'an object by its class': [
    // MARK, EMPTY_DICT and NEWOBJ behind the protocol of the state.
    replaced(LEGACY, '\x80\x02ccollections', '\x80\x02)\x81ccollections'),
    /operation 0x81/,
  ],
  'a storage of an unknown type': [
    replaced(LEGACY, 'torch\nFloatStorage', 'torch\nFloat8Storage'),
    /unknown type "torch\.Float8Storage"/,
  ],
  'a storage of another module': [
    replaced(LEGACY, 'torch\nFloatStorage', 'evil\nFloatStorage'),
    /unknown type/,
  ],
  'a tensor that reaches beyond its storage': [
    // BININT1 32, BININT1 32, TUPLE2: the first shape becomes [255, 32].
    replaced(LEGACY, 'K\x00K\x20K\x20\x86', 'K\x00K\xffK\x20\x86'),
    /reaches beyond its storage/,
  ],
  'a tensor at an offset beyond its storage': [
    replaced(LEGACY, 'K\x00K\x20K\x20\x86', 'J\xff\xff\xff\x7fK\x20K\x20\x86'),
    /reaches beyond its storage/,
  ],
  'a negative shape': [
    replaced(LEGACY, 'K\x00K\x20K\x20\x86', 'K\x00J\xff\xff\xff\xffK\x20\x86'),
    /malformed shape/,
  ],
  'a view that shows elements again and again': [
    // The first tensor: [255, 255] with strides of nothing.
    replaced(
      replaced(LEGACY, 'K\x00K\x20K\x20\x86', 'K\x00K\xffK\xff\x86'),
      'K\x20K\x01\x86',
      'K\x00K\x00\x86',
    ),
    /more elements than its storage/,
  ],
  'a value recalled that was never made': [
    replaced(LEGACY, '\x80\x02ccollections', '\x80\x02h\xfeccollections'),
    /recalls value 254/,
  ],
  'a key twice': [
    replaced(
      LEGACY,
      'decoder.block.0.layer.0.SelfAttention.o.weight',
      'decoder.block.0.layer.0.SelfAttention.k.weight',
    ),
    /twice/,
  ],
  'a number with more digits than bytes': [
    replaced(LEGACY, '\x80\x02\x8a\x0a', '\x80\x02\x8a\xff'),
    /integer takes 255 bytes/,
  ],
  'another protocol': [replaced(LEGACY, 'M\xe9\x03.', 'M\xe8\x03.'), /protocol/],
  'a big-endian machine': [
    replaced(LEGACY, 'little_endianq\x02\x88', 'little_endianq\x02\x89'),
    /big-endian/,
  ],
  'the old format, cut off': [LEGACY.subarray(0, LEGACY.length - 5000), /ends inside a storage/],
  'the old format, cut off in its description': [LEGACY.subarray(0, 3000), /ends too early/],
  'the zip format, cut off': [ZIP.subarray(0, ZIP.length - 1000), /cut off/],
  'a directory outside of the file': [withUint32(ZIP, END64 + 48, 0xfffffff0), /zip directory/],
  'a directory of 4 GB': [withUint32(ZIP, END64 + 40, 0xfffffff0), /zip directory/],
  'a directory that is none': [withUint32(ZIP, CENTRAL, 0), /malformed zip directory/],
  'an entry elsewhere': [withUint32(ZIP, CENTRAL + 42, 7), /no entry/],
  'a description of 4 GB': [
    withUint32(withUint32(ZIP, CENTRAL + 24, 0x7fffffff), CENTRAL + 20, 0x7fffffff),
    /data\.pkl of 2147483647 bytes/,
  ],
  'a compressed entry': [withUint32(ZIP, CENTRAL + 8, 0x00080000), /compressed/],
  'an entry without its 64-bit size': [withUint32(ZIP, CENTRAL + 24, 0xffffffff), /zip directory/],
};

describe('a PyTorch file with', () => {
  test.each(Object.keys(ATTACKS))('%s', async (name) => {
    const [bytes, problem] = ATTACKS[name]!;
    const error = await errorOf(async () => readPytorchFile(await fileOf(bytes)));
    expect(error.message).toMatch(problem);
    expect(['INVALID_FILE', 'UNSUPPORTED']).toContain(error.code);
  });

  test('each byte of its description changed is read, or refused with a code', async () => {
    const descriptionEnd = 7320;
    let refused = 0;
    for (let at = 0; at < descriptionEnd; at += 29) {
      const bytes = Buffer.from(LEGACY);
      bytes[at]! ^= 0x15;
      const file = await fileOf(bytes);
      try {
        await readPytorchFile(file);
      } catch (error) {
        expect(error).toMatchObject({
          name: 'WgqaError',
          code: expect.stringMatching(/^(INVALID_FILE|UNSUPPORTED)$/),
        });
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(50);
  });

  test('a call runs nothing', async () => {
    const trace = path.join(newDirectory(), 'trace');
    // c posix system, X "touch ...", TUPLE1, REDUCE: what a stranger's file would do.
    const command = `touch ${trace}`;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(command.length);
    const call = Buffer.concat([
      Buffer.from('cposix\nsystem\nX'),
      length,
      Buffer.from(`${command}\x85R`, 'latin1'),
    ]);
    const bytes = replaced(
      LEGACY,
      '\x80\x02ccollections',
      `\x80\x02${call.toString('latin1')}ccollections`,
    );
    expect((await errorOf(async () => readPytorchFile(await fileOf(bytes)))).message).toContain(
      'posix.system',
    );
    expect(existsSync(trace)).toBe(false);
  });
});

describe('PyTorch files', () => {
  test('share storages, keep views, and name the same tensors in both formats', async () => {
    const [zip, legacy] = await Promise.all([
      readPytorchFile(await fileOf(ZIP)),
      readPytorchFile(await fileOf(LEGACY)),
    ]);
    const shapes = (entries: typeof zip) =>
      [...entries].map(([name, { shape, dtype }]) => [name, shape, dtype]);
    expect(shapes(zip)).toEqual(shapes(legacy));
    for (const entries of [zip, legacy]) {
      expect(entries.get('lm_head.weight')?.offset).toBe(entries.get('shared.weight')?.offset);
      expect(
        [...entries.values()].filter(({ strides }) => strides !== undefined).length,
      ).toBeGreaterThan(0);
    }
  });

  test('are read as shards of an index', async () => {
    const directory = newDirectory();
    const source = path.join(ROOT, 'pytorch-bin/model');
    await cp(path.join(source, 'config.json'), path.join(directory, 'config.json'));
    const shard = 'pytorch_model-00001-of-00001.bin';
    await writeFile(path.join(directory, shard), ZIP);
    const names = [...(await readPytorchFile(path.join(source, 'pytorch_model.bin'))).keys()];
    const index = { weight_map: Object.fromEntries(names.map((name) => [name, shard])) };
    await writeFile(path.join(directory, 'pytorch_model.bin.index.json'), JSON.stringify(index));
    await using sharded = await loadModel(directory);
    await using single = await loadModel(source);
    for (const [name] of single.parameters()) {
      expect(await sharded.readParameter(name)).toEqual(await single.readParameter(name));
    }
    await using byFile = await loadModel(path.join(directory, shard));
    expect(byFile.parameterCount).toBe(single.parameterCount);
  });
});
