/**
 * Trains a small multi-head T5 from random weights on the training pairs of fetch-debian-data.ts,
 * with the tokenizer of train-tokenizer.ts, and writes it as a bfloat16 checkpoint. Beside its task
 * it learns an auxiliary one on the same text (base-model/tasks.ts). It saves its state as it goes
 * and continues from there when started again:
 *
 *   npx tsx scripts/train-base-model.ts [--task summarize|translate] [--data data/debian/summarize]
 *     [--out demo/model] [--work data/base-model/summarize] [--steps 4000] [--batch-size 32]
 */
import { existsSync, mkdirSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  createDataset,
  createModel,
  loadTokenizer,
  readPairs,
  tokenizePairs,
  Trainer,
  type Example,
  type Model,
  type TextPair,
} from '../src/index.ts';
import { TASKS } from './base-model/tasks.ts';

const { values: options } = parseArgs({
  options: {
    task: { type: 'string', default: 'summarize' },
    data: { type: 'string' },
    out: { type: 'string' },
    work: { type: 'string' },
    steps: { type: 'string' },
    'batch-size': { type: 'string' },
  },
});

/** T5 v1.1 in small; 8 heads leave room for 4, 2 and 1 K/V heads. */
const ARCHITECTURE = {
  architectures: ['T5ForConditionalGeneration'],
  model_type: 't5',
  is_encoder_decoder: true,
  vocab_size: 8192,
  d_model: 256,
  d_kv: 32,
  d_ff: 512,
  num_layers: 3,
  num_decoder_layers: 4,
  num_heads: 8,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  dropout_rate: 0.1,
  layer_norm_epsilon: 1e-6,
  initializer_factor: 1.0,
  feed_forward_proj: 'gated-gelu',
  tie_word_embeddings: true,
  pad_token_id: 0,
  eos_token_id: 1,
  decoder_start_token_id: 0,
  use_cache: true,
};

const SEED = 1;
const CHECKPOINT_EVERY_STEPS = 250;
const REPORT_EVERY_STEPS = 25;

const task = TASKS[options.task];
if (task === undefined) {
  throw new Error(`--task must be ${Object.keys(TASKS).join(' or ')}, not ${options.task}`);
}
const { limits, auxiliary, training } = task;
const { data = task.data, out = task.out, work = join('data/base-model', options.task) } = options;
const steps = Number(options.steps ?? task.steps);
const batchSize = Number(options['batch-size'] ?? task.batchSize);
const tokenizer = await loadTokenizer(out);

function pairsOf(split: string): AsyncIterable<TextPair> {
  return readPairs(join(data, `${split}.jsonl`));
}

async function* auxiliaryPairs(): AsyncGenerator<TextPair> {
  for await (const pair of pairsOf('train')) {
    const derived = auxiliary.pairOf(pair);
    if (derived) yield derived;
  }
}

async function trainingExamples(): Promise<Example[]> {
  return [
    ...(await tokenizePairs(pairsOf('train'), tokenizer, limits)),
    ...(await tokenizePairs(auxiliaryPairs(), tokenizer, auxiliary.limits)),
  ];
}

async function startTrainer(): Promise<{ model: Model; trainer: Trainer }> {
  const checkpoint = join(work, 'checkpoint');
  if (existsSync(join(checkpoint, 'trainer.json'))) {
    const trainer = await Trainer.resume(checkpoint);
    return { model: trainer.model, trainer };
  }
  const model = await createModel(ARCHITECTURE, { seed: SEED });
  const trainer = new Trainer(model, {
    // Updates in proportion to the weights: T5's embeddings start 16 times larger than its matrices.
    optimizer: { type: 'adafactor', learningRate: 1e-2, scaleParameter: true },
    schedule: { type: 'linear', warmupSteps: 100, totalSteps: steps },
    ...training,
    seed: SEED,
  });
  return { model, trainer };
}

mkdirSync(work, { recursive: true });
const { model, trainer } = await startTrainer();
console.log(`${String(model.parameterCount)} parameters`);
const examples = await trainingExamples();
const heldOut = await tokenizePairs(pairsOf('validation'), tokenizer, limits);
const held = createDataset(heldOut, { batchSize, shuffle: false });
await trainer.fit(createDataset(examples, { batchSize, seed: SEED }), {
  steps,
  evaluate: { dataset: held, everySteps: CHECKPOINT_EVERY_STEPS },
  checkpoint: { dir: join(work, 'checkpoint'), everySteps: CHECKPOINT_EVERY_STEPS },
  metricsFile: join(work, 'metrics.jsonl'),
  onStep: (report) => {
    if (report.step % REPORT_EVERY_STEPS !== 0) return;
    const minutesLeft = (report.millisecondsLeft / 60_000).toFixed(1);
    console.log(
      `step ${String(report.step)}/${String(report.totalSteps)} loss ${report.loss.toFixed(4)} ` +
        `${report.tokensPerSecond.toFixed(0)} tokens/s, ${minutesLeft} min left`,
    );
  },
  onEvaluate: (report) => {
    console.log(`step ${String(report.step)} validation loss ${report.loss.toFixed(4)}`);
  },
});
const trained = join(work, 'model');
await model.save(trained, { dtype: 'bfloat16' });
for (const file of ['config.json', 'generation_config.json', 'model.safetensors']) {
  if (existsSync(join(trained, file))) await cp(join(trained, file), join(out, file));
}
await model.dispose();
