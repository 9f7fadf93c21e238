/**
 * Starts workers that compute without end, terminates each in the middle, and then computes in the
 * main thread: a crash or a hang of any of it is one of this process. Arguments: what they compute,
 * and how many workers there are.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createModel, Engine, Trainer, type GenerationRequest } from '../../../src/index.ts';

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
    const engines = [new Engine(model), new Engine(model, { maxBatchSize: 4, streamBuffer: 2 })];
    const request = { inputIds: ROW, maxNewTokens: 500, minNewTokens: 500 };
    parentPort?.postMessage('started');
    for (;;) await Promise.all(engines.map((engine) => decodeInEveryWay(engine, request)));
  },
  async loading() {
    parentPort?.postMessage('started');
    for (;;) await createModel(CONFIG);
  },
};

/** Batches, beams, a reader, one that holds its request up, and a logits processor. */
async function decodeInEveryWay(engine: Engine, request: GenerationRequest): Promise<void> {
  const unread = engine.stream(request);
  await unread.next();
  const read = async (): Promise<void> => {
    for await (const _ of engine.stream(request)) continue;
  };
  const logitsProcessors = [() => sleep(1)];
  await Promise.race([
    Promise.all([engine.generate(request), engine.generate({ ...request, numBeams: 3 })]),
    Promise.all([read(), engine.generate({ ...request, logitsProcessors })]),
  ]);
  await unread.return(undefined as never);
}

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
  const [task = '', workers = '0'] = process.argv.slice(2);
  const delays = [0, 3, 20, 80];
  for (let i = 0; i < Number(workers); ++i) {
    await terminateInTheMiddle(task, delays[i % delays.length] ?? 0);
  }
  await using model = await createModel(CONFIG);
  const { loss } = await model.forward({ inputIds: [ROW], labels: [ROW] });
  process.stdout.write(JSON.stringify(loss));
} else {
  await ENDLESS[workerData as string]?.();
}
