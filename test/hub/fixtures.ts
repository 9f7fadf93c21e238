/** A hub, a cache and an environment for each test. */
import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect } from '@jest/globals';
import { resolveModel, type ResolveModelOptions, type WgqaError } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { HubServer } from '../support/hub-server.ts';

export const NAME = 'org/model';
export const WEIGHTS = randomBytes(300_000);
export const FILES = {
  'config.json': '{"model_type": "t5"}',
  'generation_config.json': '{}',
  'tokenizer.json': '{"version": "1.0"}',
  'tokenizer_config.json': '{}',
  'spiece.model': randomBytes(1000),
  'README.md': '# not needed',
  'model.safetensors': WEIGHTS,
  'pytorch_model.bin': randomBytes(100),
  'tf_model.h5': randomBytes(100),
  'onnx/encoder_model.onnx': randomBytes(100),
};
export const NEEDED = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  'spiece.model',
  'tokenizer.json',
  'tokenizer_config.json',
];

const VARIABLES = /^(HF_|HUGGING|TRANSFORMERS_|(https?|no|all)_proxy$)/i;

export interface HubFixture {
  readonly server: HubServer;
  /** HF_HOME of the test. */
  readonly home: string;
  /** Of NAME, whose files are FILES. */
  readonly commit: string;
}

/** Call once per test file. What it returns changes with every test. */
export function useHub(): HubFixture {
  const server = new HubServer();
  const makeDirectory = useTemporaryDirectories();
  const fixture = { server, home: '', commit: '' };
  beforeAll(() => server.start());
  afterAll(() => server.stop());
  beforeEach(() => {
    server.reset();
    fixture.home = makeDirectory();
    fixture.commit = server.add(NAME, { files: FILES, revisions: ['v1.0', 'feature/a'] });
    for (const name of Object.keys(process.env).filter((n) => VARIABLES.test(n))) {
      Reflect.deleteProperty(process.env, name);
    }
    Object.assign(process.env, { HF_ENDPOINT: server.endpoint, HF_HOME: fixture.home });
  });
  return fixture;
}

export function folderOf({ home }: HubFixture, repository = NAME): string {
  return path.join(home, 'hub', `models--${repository.replace('/', '--')}`);
}

/** Where the content of a large file is kept. */
export function blobOf(fixture: HubFixture, content: Uint8Array): string {
  const name = createHash('sha256').update(content).digest('hex');
  return path.join(folderOf(fixture), 'blobs', name);
}

export async function failure(name: string, options?: ResolveModelOptions): Promise<WgqaError> {
  return errorOf(() => resolveModel(name, options));
}

/** A message with such a part. */
export function contains(part: string | RegExp): unknown {
  return typeof part === 'string' ? expect.stringContaining(part) : expect.stringMatching(part);
}
