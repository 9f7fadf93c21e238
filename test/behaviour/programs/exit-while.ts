/** Ends the process while the addon computes: argv is the work, how to end, and after how long. */
import { createModel, Engine, Trainer } from '../../../src/index.ts';

const CONFIG = { vocab_size: 2000, d_model: 256, d_kv: 32, d_ff: 512, num_layers: 3, num_heads: 8 };
const [work = '', ending = '', milliseconds = '0'] = process.argv.slice(2);

const row = Array.from({ length: 200 }, (_, i) => 3 + i);
const rows = Array.from({ length: 8 }, () => row);
const model = await createModel(CONFIG, { device: 'cpu' });

const WORK: Record<string, () => Promise<unknown>> = {
  async training() {
    const trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-4 } });
    for (;;) await trainer.step({ inputIds: rows, labels: rows });
  },
  async decoding() {
    const engine = new Engine(model);
    for (;;) await engine.generate({ inputIds: row, maxNewTokens: 200, numBeams: 4 });
  },
  async forward() {
    for (;;) await model.forward({ inputIds: rows, labels: rows });
  },
  async creating() {
    for (;;) await (await createModel(CONFIG, { device: 'cpu' })).dispose();
  },
};

const end = (): void => {
  if (ending === 'exit') process.exit(0);
  throw new Error('thrown while native work runs');
};
// What others do at the end may ask for more.
process.on('exit', () => void model.forward({ inputIds: rows }).catch(() => undefined));
setTimeout(end, Number(milliseconds));
await WORK[work]?.();
