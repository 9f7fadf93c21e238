/**
 * Starts workers that compute without end, terminates each in the middle, and then computes in the
 * main thread: a crash or a hang of any of it is one of this process.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createModel, Engine, Trainer } from '../../../src/index.ts';

const CONFIG = {
  vocab_size: 500,
  d_model: 128,
  d_kv: 32,
  d_ff: 256,
  num_layers: 4,
  num_heads: 4,
  dropout_rate: 0.1,
};
const ROW = [...Array.from({ length: 99 }, (_, i) => 2 + i), 1];

const ENDLESS: Readonly<Record<string, () => Promise<never>>> = {
  async training() {
    const model = await createModel(CONFIG);
    const trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-4 } });
    const batch = { inputIds: [ROW, ROW, ROW, ROW], labels: [ROW, ROW, ROW, ROW] };
    parentPort?.postMessage('started');
    for (;;) await trainer.step(batch);
  },
  async decoding() {
    const model = await createModel(CONFIG);
    const engine = new Engine(model);
    parentPort?.postMessage('started');
    for (;;) for await (const _ of engine.stream({ inputIds: ROW, maxNewTokens: 500 })) continue;
  },
  async loading() {
    parentPort?.postMessage('started');
    for (;;) await createModel(CONFIG);
  },
};

// tsx does not reach the entry file of a worker on its own.
const WORKER = `import('tsx/esm/api').then(({ register }) => {
  register();
  return import(${JSON.stringify(import.meta.url)});
})`;

async function terminateInTheMiddle(task: string, after: number): Promise<void> {
  const worker = new Worker(WORKER, { eval: true, workerData: task });
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  await sleep(after);
  await worker.terminate();
}

if (isMainThread) {
  const [task = ''] = process.argv.slice(2);
  for (const after of [0, 3, 20, 80]) await terminateInTheMiddle(task, after);
  await using model = await createModel(CONFIG);
  const { loss } = await model.forward({ inputIds: [ROW], labels: [ROW] });
  process.stdout.write(JSON.stringify(loss));
} else {
  await ENDLESS[workerData as string]?.();
}
