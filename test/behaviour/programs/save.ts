/** Saves a model, or a trainer with it, where it does not fit; prints what came of it. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { createModel, Trainer, WgqaError } from '../../../src/index.ts';
import { TINY_V10 } from '../../support/tiny-model.ts';

const [directory = '', what = ''] = process.argv.slice(2);

await using model = await createModel({ ...TINY_V10, d_model: 64, d_kv: 16, d_ff: 256 });
await using trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-3 } });
const target = path.join(directory, what === 'existing' ? '.' : 'new');

/** The system's error code below a WgqaError. */
function systemCode({ cause }: WgqaError): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : undefined;
}

let outcome: object = { code: 'saved' };
try {
  await (what === 'trainer' ? trainer.save(target) : model.save(target));
} catch (error) {
  if (!(error instanceof WgqaError)) throw error;
  outcome = { code: error.code, systemCode: systemCode(error) };
}
const left = await readdir(directory, { recursive: true });
process.stdout.write(JSON.stringify({ ...outcome, left: left.sort() }));
